import subprocess

import pytest

from wherry.api.tls import TLSFiles


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> TLSFiles:
    """A certificate for localhost that is its own CA."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    return TLSFiles(f"{folder}/cert.pem", f"{folder}/key.pem", ca=f"{folder}/cert.pem")

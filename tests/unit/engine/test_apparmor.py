import pytest

from wherry.engine.spec import apparmor


@pytest.mark.parametrize(
    ("asked", "privileged", "expected"),
    [
        ("", False, "wherry-default"),
        ("", True, "unconfined"),
        ("unconfined", False, "unconfined"),
        ("mine", True, "mine"),
    ],
)
def test_the_profile_of_a_container(asked: str, privileged: bool, expected: str) -> None:
    assert apparmor.profile_name(asked, privileged=privileged) == expected


@pytest.mark.parametrize(
    "rule",
    [
        "deny mount,",
        "deny /proc/kcore{,/**} rwklmx,",
        "deny /proc/sysrq-trigger{,/**} rwklmx,",
        "deny /sys/firmware{,/**} rwklmx,",
        "signal (send) peer=wherry-default,",
        "ptrace (read, trace) peer=wherry-default,",
    ],
)
def test_the_policy_has(rule: str) -> None:
    assert f"  {rule}\n" in apparmor.policy()


def test_the_policy_is_one_block_under_the_given_name() -> None:
    text = apparmor.policy("other")
    assert text.startswith("profile other flags=(attach_disconnected,mediate_deleted) {\n")
    assert text.endswith("\n}\n")
    assert "peer=other," in text
    assert "wherry-default" not in text

"""BuildKit's API over this builder: sessions, control service, gateway service.

Imported when the first client asks for it: most engines never hear of gRPC.
"""

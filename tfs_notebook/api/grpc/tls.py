"""Key material as grpc takes it, which is less than OpenSSL does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc

from tfs_notebook.errors import invalid_argument

if TYPE_CHECKING:
    from tfs_notebook.settings.tls import Tls


def credentials(tls: Tls) -> grpc.ServerCredentials:
    """What a secure port is opened with."""
    return grpc.ssl_server_credentials(
        [(tls.key.encode(), tls.certificate.encode())],
        root_certificates=tls.ca.encode() or None,
        require_client_auth=tls.client_verify,
    )


def check_tls(tls: Tls) -> None:
    """Raise ServingError INVALID_ARGUMENT when grpc cannot use `tls`; asked before a port is given up for it.

    Grpc only finds out when it listens, so it does for a moment, on some port of loopback where nobody is answered.
    """
    trial = grpc.server(ThreadPoolExecutor(1))
    try:
        trial.add_secure_port("127.0.0.1:0", credentials(tls))
    except RuntimeError:
        raise invalid_argument(
            "--ssl_config_file: grpc cannot use the key and the certificates in it: it takes RSA keys and those of the "
            "elliptic curves P-256, P-384 and P-521"
        ) from None
    finally:
        trial.stop(None)

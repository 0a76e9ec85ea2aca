"""How a broker and its client show who they are, and what is said when that fails.

TLS is 1.2 or later, the broker's certificate and name are always checked. Called by
``paho_link.py``, anew for each connection: files may have been replaced, and the clock set.
"""

from __future__ import annotations

import ssl
import time
from pathlib import Path

from shared.clock import CLOCK_WAS_SET
from shared.link import Broker

NO_CHECK_TIME = ssl.VerifyFlags(0x200000)
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which Python has no name for."""


def tls(broker: Broker) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=broker.ca_file or None)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if time.time() < CLOCK_WAS_SET:
        # A device without a battery clock begins in 1970, where no certificate is valid yet, and
        # often has no other way to learn the time than this network. Who signed and for which
        # name is checked all the same, and the dates again at the next connect after it is set.
        made.verify_flags |= NO_CHECK_TIME
    if broker.cert_file:
        made.load_cert_chain(broker.cert_file, broker.key_file or None)
    return made


def password(broker: Broker) -> str | None:
    if not broker.password_file:
        return None
    return Path(broker.password_file).read_text().strip()


def why(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: {error.verify_message}; check mqtt-ca and the host name"
    if isinstance(error, OSError) and error.strerror:
        where = f" ({error.filename})" if error.filename else ""
        return error.strerror + where
    return str(error)

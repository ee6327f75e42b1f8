"""What goes wrong before anything is asked: names that are not found, certificates that nobody should trust."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.faults.levered import Levers
from tests.faults.proxy import FaultProxy
from tests.faults.scene import Faulty, faulty_scene
from tests.stores import MakeDatabase

pytestmark = pytest.mark.one_engine


@dataclass
class Secured:
    """A bot that reaches Slack over TLS, and the levers on what it looks up."""

    faulty: Faulty
    slack: FaultProxy
    levers: Levers
    folder: Path

    def present(self, certificate: str) -> None:
        """From now on Slack shows another certificate; connections that were open are cut."""
        self.slack.tls = _context(self.folder / certificate)
        self.slack.reset()


def _make(path: Path, ends: timedelta = timedelta(days=1)) -> Path:
    """A certificate of 127.0.0.1 that vouches for itself, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, path.stem)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now + ends)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(pem + made.public_bytes(serialization.Encoding.PEM))
    return path


def _context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture(scope="module")
def secured(bot_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """The bot trusts `good` and `expired`; Slack shows `good`."""
    folder = tmp_path_factory.mktemp("tls")
    trusted = folder / "trusted.pem"
    good, expired = _make(folder / "good.pem"), _make(folder / "expired.pem", timedelta(days=-1))
    _make(folder / "strange.pem")
    trusted.write_bytes(good.read_bytes() + expired.read_bytes())
    levers = Levers(folder)
    environment = {"REQUESTS_CA_BUNDLE": str(trusted), **levers.environment}
    of_bot = {"wrapped": levers.wrapped, "environment": environment}
    with (
        FaultProxy(tls=_context(good)) as slack,
        faulty_scene(folder, ("named", "tls"), sections=bot_database(), slack=slack, **of_bot) as faulty,
    ):
        for lane, project in faulty.begin("named", "tls").items():  # where the channels are is known from now on
            faulty.card(lane, project)
        yield Secured(faulty, slack, levers, folder)


def test_names_that_are_not_found_cost_no_card(secured: Secured) -> None:
    """Neither platform can be found: nothing was asked, nothing is in doubt, and the end stands when it can."""
    faulty = secured.faulty
    secured.levers.cut_names(is_cut=True)
    secured.slack.reset()
    faulty.chat.reset()
    try:
        project = faulty.begin("named")["named"]
        for platform in ("slack", "dingtalk"):
            faulty.scene.eventually(
                lambda platform=platform: faulty.reason(project, platform) == "failed:unreachable", f"{platform}'s word"
            )
    finally:
        secured.levers.cut_names(is_cut=False)
    faulty.scene.tell(project, 1, "finished", status="success")
    faulty.card("named", project, f"✅ {project}")
    assert len(faulty.posts(project)) == 1


@pytest.mark.parametrize("certificate", ["expired", "strange"])
def test_a_certificate_that_is_no_good_costs_no_card(secured: Secured, certificate: str) -> None:
    """Slack's certificate has expired, or is somebody else's: nothing is sent there, DingTalk goes on."""
    faulty = secured.faulty
    secured.present(f"{certificate}.pem")
    try:
        project = faulty.begin("tls")["tls"]
        faulty.scene.eventually(lambda: faulty.reason(project) == "failed:unreachable", "the refusal")
        faulty.scene.card("tls", f"{project} #1")
        assert faulty.scene.calls("chat.postMessage", project) == []
    finally:
        secured.present("good.pem")
    faulty.scene.tell(project, 1, "finished", status="success")
    faulty.card("tls", project, f"✅ {project}")

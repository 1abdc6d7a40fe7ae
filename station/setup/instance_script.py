"""What an administrator gives to a machine that is to register: the script, one command, or a response file.

The names and ports in them come from the group's record, never from what a client said.
"""

import re
import shlex

from station.model.records import GroupRecord
from station.setup.repo_file import base_url, proxy_url

TEMPLATE = "instance-setup.sh"  # beside this module; the caller reads it
_HOST = re.compile(r"[A-Za-z0-9._:-]+")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


def render_script(template: str, group: GroupRecord, fingerprint: str) -> str:
    """instance-setup.sh for a group. `fingerprint`: SHA-256 of its CA's DER form, hexadecimal.

    Raises ValueError for a host that is none, and for a template without the places to fill in.
    """
    values = {
        "@HOST@": _host(group),
        "@HTTPS@": str(group.ports.https),
        "@PROXY@": str(group.ports.proxy),
        "@FINGERPRINT@": _checked(fingerprint),
    }
    for place, value in values.items():
        if template.count(f"'{place}'") != 1:
            raise ValueError(f"the template has no place {place}, or several")
        template = template.replace(f"'{place}'", shlex.quote(value))
    return template


def registration_command(group: GroupRecord, fingerprint: str, *, by_proxy: bool = False) -> str:
    """One command that fetches the script and runs it; options of the script may follow it.

    What is to be believed is fetched unverified: its first certificate, the group's CA, is compared with the
    fingerprint, and the whole must be signed by it. The install key is not in it: the script asks for it, so that no
    history has it. Raises ValueError.
    """
    _host(group)
    base = base_url(group, https=True)
    way = f"--proxy {proxy_url(group)}" if by_proxy else "--noproxy '\\''*'\\''"
    steps = [
        "set -eu",
        "d=$(mktemp -d)",
        'trap "rm -rf $d" EXIT',
        f"curl -q -sSf {way} --insecure -o $d/trust {base}/trust.pem",
        'grep -v "^# signed=" $d/trust >$d/told',
        'sed -n "s/^# signed=//p" $d/trust | openssl base64 -d -A >$d/sig',
        "f=$(openssl x509 -in $d/trust -outform DER | openssl dgst -sha256 -r | cut -c 1-64)",
        "openssl x509 -in $d/trust -noout -pubkey >$d/pub",
        f'[ "$f" = {_checked(fingerprint)} ] && '
        "openssl dgst -sha256 -verify $d/pub -signature $d/sig $d/told >/dev/null || "
        '{ echo "not the expected CA: somebody is in between" >&2; exit 1; }',
        f"curl -q -sSf {way} --cacert $d/trust -o $d/setup {base}/instance-setup.sh",
        f'sh $d/setup {"--by-proxy " if by_proxy else ""}"$@"',
    ]
    return f"sh -c '{'; '.join(steps)}' instance-setup"


def render_response_file(group: GroupRecord, install_key: str) -> str:
    """The product's response file, with the keys that its agent reads. Raises ValueError."""
    if not re.fullmatch(r"[0-9a-z-]+", install_key):
        raise ValueError("not an install key")
    return (
        f"ManagementAgentInstallKey = {install_key}\n"
        "Service.plugin.osmh.download = true\n"
        f"GatewayServerHost = {_host(group)}\n"
        f"GatewayServerPort = {group.ports.proxy}\n"
    )


def _host(group: GroupRecord) -> str:
    if not _HOST.fullmatch(group.hostname):
        raise ValueError(f"{group.hostname!r} is not a host name in ASCII")
    return group.hostname


def _checked(fingerprint: str) -> str:
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise ValueError("the fingerprint has 64 hexadecimal digits")
    return fingerprint

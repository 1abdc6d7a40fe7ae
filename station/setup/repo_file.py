"""The .repo file of an instance: `mirrorlist=` at the balancer, so that one dnf run is about one revision."""

from collections.abc import Sequence
from dataclasses import dataclass

from station.model.records import GroupRecord, SourceRecord

# Seconds until dnf looks at the mirror again. Retention keeps every revision at least a day longer than this.
METADATA_EXPIRE_S = 6 * 3600

# Where instances keep the group's CA certificate.
CA_PATH = "/etc/pki/station/ca.pem"


@dataclass(frozen=True, slots=True)
class RepoOptions:
    """How an instance reaches the group.

    `profile` is whose freezes apply (empty: none). `ca_path` is the CA on the instance, for https. `metadata_expire_s`
    in seconds. `sslverify` as the group's `is_sslverify_enabled`. `key_directory` is where the OpenPGP keys lie on the
    instance, one file per source (empty: dnf asks the group). `by_proxy`: the instance reaches only the proxy port.
    """

    profile: str = ""
    https: bool = True
    ca_path: str = CA_PATH
    sslverify: bool = True
    metadata_expire_s: int = METADATA_EXPIRE_S
    key_directory: str = ""
    by_proxy: bool = False


def render_repo_file(
    group: GroupRecord, sources: Sequence[SourceRecord], options: RepoOptions
) -> str:
    """The text of a .repo file with one section per source, in the order given. Raises ValueError for no source."""
    if not sources:
        raise ValueError("a .repo file without a source would be an error to dnf")
    return "\n".join(_section(group, source, options) for source in sources)


def base_url(group: GroupRecord, *, https: bool) -> str:
    """`https://HOSTNAME:PORT`, the group as instances see it."""
    host = f"[{group.hostname}]" if ":" in group.hostname else group.hostname
    return f"https://{host}:{group.ports.https}" if https else f"http://{host}:{group.ports.http}"


def proxy_url(group: GroupRecord) -> str:
    """`http://HOSTNAME:PORT` of the proxy."""
    host = f"[{group.hostname}]" if ":" in group.hostname else group.hostname
    return f"http://{host}:{group.ports.proxy}"


def _section(group: GroupRecord, source: SourceRecord, options: RepoOptions) -> str:
    base = base_url(group, https=options.https)
    view = f"{source.id}/{options.profile}" if options.profile else source.id
    lines = [
        f"[{source.id}]",
        f"name={_escaped(source.display_name or source.id)}",
        f"mirrorlist={base}/mirrorlist/{view}",
        "enabled=1",
        f"metadata_expire={options.metadata_expire_s}",
        f"gpgcheck={int(source.is_gpg_check_enabled)}",
        f"repo_gpgcheck={int(source.is_repo_gpg_check_enabled)}",
    ]
    if source.gpgkey:
        where = f"file://{options.key_directory}" if options.key_directory else f"{base}/keys"
        lines.append(f"gpgkey={where}/{source.id}")
    if options.by_proxy:
        lines.append(f"proxy={proxy_url(group)}")
    if options.https:
        lines.append(f"sslverify={int(options.sslverify)}")
        lines.append(f"sslcacert={options.ca_path}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """dnf replaces `$name` and `${name}` in values; a literal dollar has no other form than to be left out."""
    return text.replace("$", "").strip()

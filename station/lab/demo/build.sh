#!/bin/sh
# Makes repository/ and RPM-GPG-KEY-demo anew, with a key that exists only while this runs.
# Needs rpm (rpmbuild, rpmsign), createrepo-c and gnupg; the station itself needs none of them.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d /tmp/demo-XXXXXX) # short: the path of gpg-agent's socket may have 107 bytes
export GNUPGHOME="$work/k" SOURCE_DATE_EPOCH=1767225600
trap 'gpgconf --kill gpg-agent; rm -rf "$work"' EXIT
mkdir -m 700 "$GNUPGHOME"
gpg --batch --quiet --passphrase '' --quick-gen-key 'Station demo <demo@example.invalid>' rsa3072 sign never
rpmbuild -bb --quiet -D "_topdir $work" -D "_rpmdir $work/out" -D '_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm' \
    -D '_buildhost demo.example.invalid' -D 'use_source_date_epoch_as_buildtime 1' \
    -D 'clamp_mtime_to_source_date_epoch 1' -D '_binary_payload w9.gzdio' "$here/station-demo.spec"
rpmsign --addsign -D '_gpg_name demo@example.invalid' -D "_gpg_path $GNUPGHOME" -D '__gpg /usr/bin/gpg' "$work"/out/*.rpm
chmod 644 "$work"/out/*.rpm
createrepo_c --quiet --no-database --revision "$SOURCE_DATE_EPOCH" --set-timestamp-to-revision \
    --groupfile "$here/comps.xml" "$work/out"
modifyrepo_c --mdtype updateinfo --compress --compress-type gz "$here/updateinfo.xml" "$work/out/repodata" >/dev/null
gpg --batch --armor --detach-sign "$work/out/repodata/repomd.xml"
gpg --batch --armor --export demo@example.invalid > "$here/RPM-GPG-KEY-demo"
rm -rf "$here/repository"
cp -r "$work/out" "$here/repository"

#!/bin/sh
# Registers this machine with its management stations, and takes it back.
#
# Needs sh, curl and openssl beside the basic commands of every system (POSIX). What is here until the last line only
# defines: a download that was cut anywhere does nothing.
#
# This machine's secrets never stand in a URL or on a command line: curl reads them from its standard input.
set -u

# What the group's configuration says; the station that hands this file out fills it in.
STATION_HOST='@HOST@'
STATION_HTTPS='@HTTPS@'
STATION_PROXY='@PROXY@'
STATION_FINGERPRINT='@FINGERPRINT@'

usage() {
    cat <<'TEXT'
usage: sh instance-setup.sh [--key-file FILE | --response-file FILE] [--by-proxy] [--dry-run]
       sh instance-setup.sh --check-in | --going-down | --unregister

  --key-file FILE       the install key (- : from standard input); without one it is asked for
  --response-file FILE  ManagementAgentInstallKey, GatewayServerHost, GatewayServerPort, one KEY = VALUE a line
  --by-proxy            reach the stations through their proxy port only (else: when there is no other way)
  --host HOST           the stations' name, instead of the one in this file
  --dry-run             say what would be done and change nothing
  --check-in            report to the stations and take what they changed; the timer does it
  --going-down          say that this machine goes down to boot; a unit does it
  --unregister          deregister and put the previous .repo files back
ROOT, when set, is put before every path (for images and tests).
TEXT
}

say() { printf '%s\n' "instance-setup: $*"; }
warn() { printf '%s\n' "instance-setup: $*" >&2; }
fail() {
    warn "$*"
    FAILED=$*
    exit 1
}

# Prints the value of NAME in a file of lines `NAME=VALUE`.
value_of() {
    while IFS= read -r line || [ -n "$line" ]; do
        case $line in
            "$1="*)
                printf '%s\n' "${line#*=}"
                return 0
                ;;
        esac
    done <"$2"
    return 0
}

# The text on one line, of the characters that a fact may have.
fact() { printf '%s' "$1" | tr -cd 'A-Za-z0-9 ._:+~()/,-' | cut -c 1-200; }

digest() { openssl dgst -sha256 -r | cut -d ' ' -f 1; }

paths() {
    ROOT=${ROOT:-}
    STATE=$ROOT/var/lib/station-instance
    REPOS=$ROOT/etc/yum.repos.d
    TRUST=$ROOT/etc/pki/station
    UNITS=$ROOT/etc/systemd/system
    PROGRAM=$ROOT/usr/local/libexec/station-instance-setup
}

# Work in a directory that only this user can read; gone at the end, whatever the end is.
begin() {
    umask 022
    WORK=$(mktemp -d "${TMPDIR:-/tmp}/instance-setup.XXXXXX") || fail "no temporary directory"
    CHANGING='' QUIET='' TAKEN_DOWN='' FAILED='interrupted'
    trap finish EXIT
    trap 'exit 1' HUP INT TERM
    for command in curl openssl; do
        command -v "$command" >/dev/null || fail "$command is needed, and not installed"
    done
}

finish() {
    status=$?
    trap - EXIT
    [ -z "$QUIET" ] || stty echo </dev/tty
    [ -z "$CHANGING" ] || take_back
    [ -z "$TAKEN_DOWN" ] || tell_failure
    rm -rf "$WORK"
    exit "$status"
}

# Only complete files appear, with the mode that is asked for.
install_file() {
    mkdir -p "${2%/*}" && cp "$1" "$2.new" && chmod "$3" "$2.new" && mv -f "$2.new" "$2"
}

# ---- Talk to the stations -------------------------------------------------------------------------------------------

url() {
    case $HOST in
        *:*) printf '%s://[%s]:%s' "$1" "$HOST" "$2" ;;
        *) printf '%s://%s:%s' "$1" "$HOST" "$2" ;;
    esac
}

# ask METHOD PATH BODY ANSWER [curl options]: STATUS is the answer's, 000 for none. AUTH goes in by standard input.
ask() {
    method=$1 path=$2 body=$3 answer=$4
    shift 4
    [ -z "$body" ] || set -- "$@" --data-binary "@$body" --header 'Content-Type: text/plain'
    if [ "$WAY" = proxy ]; then
        set -- "$@" --proxy "$(url http "$PROXY")" --noproxy ''
    else
        set -- "$@" --noproxy '*'
    fi
    STATUS=$(printf 'header = "Authorization: Bearer %s"\n' "$AUTH" |
        curl -q --config - --silent --show-error --connect-timeout 10 --max-time 60 --retry 2 \
            --request "$method" --header 'Accept: text/plain' --header 'Expect:' "$@" \
            --output "$answer" --write-out '%{http_code}' "$(url https "$HTTPS")$path" 2>"$WORK/said") ||
        STATUS=000
}

# The stations have taken this machine down, and then its registration failed: they are told why, if they can be.
tell_failure() {
    { facts && printf 'registration=%s\n' "$(fact "$FAILED")"; } >"$WORK/body"
    ask POST "/instances/$ID/checkin" "$WORK/body" "$WORK/told" --cacert "$WORK/ca.pem" --max-time 10 --retry 0
}

# What the stations or curl said of the last request, on one line.
said() {
    if [ "$STATUS" = 000 ]; then
        tr '\n' ' ' <"$WORK/said"
    elif [ -f "$1" ]; then
        printf '%s %s' "$STATUS" "$(tr -cd '[:print:]' <"$1" | cut -c 1-400)"
    else
        printf '%s' "$STATUS"
    fi
}

# Whom to believe, fetched from somebody who is not believed yet: its first certificate is the group's CA, known by its
# fingerprint, and the whole is signed by it. Its number only grows, so that an old one cannot be told again.
fetch_trust() {
    [ -n "$FINGERPRINT" ] || fail "no fingerprint of the CA: take the command of \`station profile command\`"
    kept=$AUTH
    AUTH=none
    ask GET /trust.pem '' "$WORK/trust" --insecure --connect-timeout 5 --retry 0
    AUTH=$kept
    [ "$STATUS" = 200 ] || return 1
    found=$(openssl x509 -in "$WORK/trust" -outform DER 2>/dev/null | digest)
    [ "$found" = "$FINGERPRINT" ] ||
        fail "the CA at $HOST has another fingerprint ($found): somebody is in between, or the key is of another group"
    grep -v '^# signed=' "$WORK/trust" >"$WORK/trust.told"
    value_of '# signed' "$WORK/trust" | openssl base64 -d -A >"$WORK/trust.sig"
    openssl x509 -in "$WORK/trust" -noout -pubkey >"$WORK/trust.key" &&
        openssl dgst -sha256 -verify "$WORK/trust.key" -signature "$WORK/trust.sig" "$WORK/trust.told" >/dev/null 2>&1 ||
        fail "what $HOST says is to be believed is not signed by the group's CA: somebody is in between"
    [ "$(trust_number "$WORK/trust")" -ge "$(trust_number "$TRUST/ca.pem")" ] ||
        fail "$HOST says what was to be believed before: somebody is in between, or the station is behind; try again"
    cp "$WORK/trust.told" "$WORK/ca.pem"
}

# The number of a CA file; 0 for one that has none, or is not there.
trust_number() {
    number=''
    [ ! -f "$1" ] || number=$(value_of '# trust' "$1" | tr -cd '0-9' | cut -c 1-9)
    printf '%s' "${number:-0}"
}

# Directly, and when that leads nowhere, through the proxy port.
find_way() {
    for WAY in $1; do
        fetch_trust && return 0
        warn "no answer from $(url https "$HTTPS") ($WAY): $(said "$WORK/trust")"
    done
    fail "the stations cannot be reached; nothing was changed"
}

# A station that dies in the middle is no answer, and one may not have heard yet that a machine is back: ask again. Then
# the others that were named before, each by its own address; whoever answers is asked first for the rest of this run.
call() {
    ask "$@" --cacert "$WORK/ca.pem"
    case $STATUS in 000 | 410 | 503) sleep 2 && ask "$@" --cacert "$WORK/ca.pem" ;; esac
    [ "$STATUS" = 000 ] || return 0
    first=$HOST
    for HOST in $OTHERS; do
        ask "$@" --cacert "$WORK/ca.pem"
        [ "$STATUS" = 000 ] || return 0
    done
    HOST=$first
}

# ---- What is known of this machine ----------------------------------------------------------------------------------

os_release() {
    [ -f "$ROOT/etc/os-release" ] || return 0
    found=$(value_of "$1" "$ROOT/etc/os-release")
    found=${found#[\"\']}
    printf '%s' "${found%[\"\']}"
}

facts() {
    printf 'hostname=%s\n' "$(fact "$(uname -n)")"
    printf 'kernel=%s\n' "$(fact "$(uname -r)")"
    printf 'arch=%s\n' "$(fact "$(uname -m)")"
    printf 'os_id=%s\n' "$(fact "$(os_release ID)")"
    printf 'os_version=%s\n' "$(fact "$(os_release VERSION_ID)")"
    if [ -s "$ROOT/etc/machine-id" ]; then
        printf 'machine=%s\n' "$({ printf 'station:' && cat "$ROOT/etc/machine-id"; } | digest | cut -c 1-32)"
    fi
    if command -v rpm >/dev/null && { [ -d "$ROOT/var/lib/rpm" ] || [ -d "$ROOT/usr/lib/sysimage/rpm" ]; }; then
        printf 'packages=%s\n' "$(rpm ${ROOT:+"--root=$ROOT"} -qa 2>/dev/null | wc -l | tr -cd '0-9')"
    fi
    printf 'error=%s\n' "$(fact "${TROUBLE:-}")"
    printf 'way=%s\n' "$WAY"
    printf 'trust=%s\n' "$(trust_number "$TRUST/ca.pem")"
    if [ -f "$REPOS/station.repo" ]; then
        printf 'repos=%s\n' "$(digest <"$REPOS/station.repo")"
    fi
}

# The id and the secret of this machine, made once.
identity() {
    if [ -s "$STATE/id" ] && [ -s "$STATE/secret" ]; then
        ID=$(cat "$STATE/id") SECRET=$(cat "$STATE/secret")
    else
        ID=$(openssl rand -hex 16) SECRET=$(openssl rand -hex 32) || fail "openssl gives no random numbers"
    fi
    case $ID in *[!0-9A-Za-z._-]* | '' | [._-]*) fail "$STATE/id is damaged" ;; esac
}

# ---- The install key and the response file --------------------------------------------------------------------------

take_key() {
    KEY=$(printf '%s' "$1" | tr -d ' \t\r\n')
    without=${KEY%-*}
    case $KEY in *[!0-9a-z-]*) fail "this is no install key" ;; install-1-*-*-*-*) ;; *) fail "this is no install key" ;; esac
    [ "$(printf '%s' "$without" | digest | cut -c 1-8)" = "${KEY##*-}" ] ||
        fail "the install key was cut or mistyped"
    rest=${KEY#install-1-}
    HTTPS=${rest%%-*}
    rest=${rest#*-}
    if [ -n "$FINGERPRINT" ] && [ "$FINGERPRINT" != "${rest%%-*}" ]; then
        fail "the install key is of another group than this script"
    fi
    FINGERPRINT=${rest%%-*}
}

read_key() {
    if [ "$1" = - ]; then
        IFS= read -r text || [ -n "$text" ] || fail "no install key on standard input"
    elif [ -n "$1" ]; then
        [ -r "$1" ] || fail "$1 cannot be read"
        IFS= read -r text <"$1" || [ -n "$text" ] || fail "$1 is empty"
    else
        (: </dev/tty) 2>/dev/null || fail "no terminal to ask for the install key: give --key-file"
        printf 'install key: ' >/dev/tty
        QUIET=yes
        stty -echo </dev/tty
        IFS= read -r text </dev/tty
        stty echo </dev/tty
        QUIET=
        printf '\n' >/dev/tty
    fi
    take_key "$text"
}

# Lines `Key = Value`; nothing in them is run.
read_response() {
    [ -r "$1" ] || fail "$1 cannot be read"
    key='' wanted=true
    while IFS= read -r line || [ -n "$line" ]; do
        line=$(printf '%s' "$line" | tr -d '\r')
        case $line in '' | '#'* | *[!\ ]*=*) ;; *) fail "$1: not KEY = VALUE" ;; esac
        name=$(printf '%s' "${line%%=*}" | tr -d ' \t')
        value=$(printf '%s' "${line#*=}" | tr -d ' \t')
        case $name in
            ManagementAgentInstallKey) key=$value ;;
            Service.plugin.osmh.download) wanted=$value ;;
            GatewayServerHost) HOST=$value ;;
            GatewayServerPort) PROXY=$value ;;
        esac
    done <"$1"
    [ "$wanted" = true ] || fail "$1: Service.plugin.osmh.download is not true: this machine is not to be managed"
    [ -n "$key" ] || fail "$1 has no ManagementAgentInstallKey"
    take_key "$key"
}

check_place() {
    case $HOST in '' | *[!0-9A-Za-z.:_-]*) fail "no host of the stations: give --host" ;; esac
    case $HTTPS$PROXY in '' | *[!0-9]*) fail "the ports are no numbers" ;; esac
}

# ---- Repositories ---------------------------------------------------------------------------------------------------

# Fetch the .repo file and the keys it names into WORK; nothing is in place yet.
fetch_repos() {
    call GET "/instances/$ID/repos?way=$WAY" '' "$WORK/station.repo"
    [ "$STATUS" = 200 ] || return 1
    rm -rf "$WORK/keys"
    mkdir "$WORK/keys" || return 1
    for source in $(value_of keys "$1"); do
        case $source in *[!0-9A-Za-z._-]* | [._-]*) return 1 ;; esac
        call GET "/keys/$source" '' "$WORK/keys/$source"
        [ "$STATUS" = 200 ] || return 1
    done
}

place_repos() {
    for file in "$WORK/keys/"*; do
        [ ! -f "$file" ] || install_file "$file" "$TRUST/keys/${file##*/}" 644 || return 1
    done
    install_file "$WORK/ca.pem" "$TRUST/ca.pem" 644 &&
        chmod 755 "$TRUST" && { [ ! -d "$TRUST/keys" ] || chmod 755 "$TRUST/keys"; } &&
        install_file "$WORK/station.repo" "$REPOS/station.repo" 644
}

# The .repo files that were there before are kept for --unregister.
set_aside() {
    mkdir -p "$STATE/previous" "$REPOS" "$WORK/before" && : >"$WORK/moved" || return 1
    CHANGING=yes
    if [ -f "$REPOS/station.repo" ] && [ -s "$STATE/settings" ]; then
        cp "$REPOS/station.repo" "$WORK/before/" || return 1
    fi
    for file in "$REPOS/"*.repo; do
        name=${file##*/}
        [ -f "$file" ] && [ ! -f "$WORK/before/$name" ] || continue
        mv -f "$file" "$STATE/previous/" || return 1
        printf '%s\n' "$name" >>"$WORK/moved"
    done
}

# After a failure: what this run changed of the .repo files is as it was.
take_back() {
    CHANGING=
    rm -f "$REPOS/station.repo"
    while IFS= read -r name; do
        mv -f "$STATE/previous/$name" "$REPOS/" || warn "$STATE/previous/$name could not be put back"
    done <"$WORK/moved"
    [ ! -f "$WORK/before/station.repo" ] || install_file "$WORK/before/station.repo" "$REPOS/station.repo" 644
}

# At the end of a registration: what was there before the first one.
put_back() {
    rm -f "$REPOS/station.repo"
    for file in "$STATE/previous/"*.repo; do
        [ ! -f "$file" ] || mv -f "$file" "$REPOS/" || fail "$file could not be put back"
    done
}

# ---- The timer ------------------------------------------------------------------------------------------------------

write_units() {
    cat >"$WORK/service" <<TEXT
[Unit]
Description=Report to the management stations and take what they changed
After=network-online.target
Wants=network-online.target

[Service]
Type=oneshot
ExecStart=/bin/sh /usr/local/libexec/station-instance-setup --check-in
TimeoutStartSec=5min
TEXT
    cat >"$WORK/timer" <<TEXT
[Unit]
Description=Check in with the management stations

[Timer]
OnActiveSec=1min
OnBootSec=1min
OnUnitActiveSec=2min
RandomizedDelaySec=30s
AccuracySec=5s

[Install]
WantedBy=timers.target
TEXT
    # Stopped before the network is, as it was started after it. Silent unless the machine goes down to boot again.
    cat >"$WORK/going" <<TEXT
[Unit]
Description=Tell the management stations when this machine goes down to boot
After=network-online.target nss-lookup.target
Wants=network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c :
ExecStop=-/bin/sh -c 'systemctl list-jobs | grep -Eq "(reboot|kexec)[.]target +start" && exec sh /usr/local/libexec/station-instance-setup --going-down'
TimeoutStopSec=15s

[Install]
WantedBy=multi-user.target
TEXT
    install_file "$WORK/service" "$UNITS/station-check-in.service" 644 &&
        install_file "$WORK/timer" "$UNITS/station-check-in.timer" 644 &&
        install_file "$WORK/going" "$UNITS/station-going-down.service" 644
}

# Only on a running system that is this one.
has_systemd() { [ -z "$ROOT" ] && [ -d /run/systemd/system ] && command -v systemctl >/dev/null; }

start_timer() {
    write_units || return 1
    if has_systemd; then
        systemctl daemon-reload && systemctl enable --quiet --now station-check-in.timer station-going-down.service
    fi
}

stop_timer() {
    if has_systemd && [ -f "$UNITS/station-check-in.timer" ]; then
        systemctl disable --quiet --now station-check-in.timer
    fi
    if has_systemd && [ -f "$UNITS/station-going-down.service" ]; then
        systemctl disable --quiet --now station-going-down.service
    fi
    return 0
}

# ---- What can be asked for ------------------------------------------------------------------------------------------

keep() {
    printf '%s\n' "$2" >"$WORK/kept" && install_file "$WORK/kept" "$STATE/$1" 600
}

remember() {
    moved_host=$(value_of hostname "$1") moved_https=$(value_of https "$1") moved_proxy=$(value_of proxy "$1")
    TOKEN=$(value_of token "$1")
    {
        printf 'host=%s\n' "${moved_host:-$HOST}"
        printf 'https=%s\n' "${moved_https:-$HTTPS}"
        printf 'proxy=%s\n' "${moved_proxy:-$PROXY}"
        printf 'fingerprint=%s\n' "$FINGERPRINT"
        printf 'way=%s\n' "$WAY"
        printf 'others=%s\n' "$(value_of others "$1" | tr -cd '0-9A-Za-z.:_ -' | cut -c 1-1000)"
    } >"$WORK/settings"
    install_file "$WORK/settings" "$STATE/settings" 600 || return 1
    [ -z "$TOKEN" ] || keep token "$TOKEN"
}

# With the install key for the first time, later with this machine's own secret.
put_instance() {
    AUTH=$1
    { facts && printf 'secret=%s\n' "$SECRET"; } >"$WORK/body"
    call PUT "/instances/$ID" "$WORK/body" "$WORK/registered"
}

register() {
    identity
    find_way "$WAYS"
    if [ "$DRY" = yes ]; then
        say "would register $ID with $(url https "$HTTPS") ($WAY), whose CA has the expected fingerprint"
        for file in "$REPOS/"*.repo; do
            [ ! -f "$file" ] || say "would set aside $file"
        done
        say "would write $REPOS/station.repo, $TRUST/ca.pem, $TRUST/keys/, $PROGRAM, $UNITS/station-check-in.timer, $UNITS/station-going-down.service"
        return 0
    fi
    mkdir -p "$STATE" && chmod 700 "$STATE" && keep id "$ID" && keep secret "$SECRET" || fail "$STATE cannot be written"
    put_instance "$KEY"
    case $STATUS in
        200 | 201) ;;
        *) fail "not registered: $(said "$WORK/registered")" ;;
    esac
    AUTH=$(value_of token "$WORK/registered") TAKEN_DOWN=yes
    fetch_repos "$WORK/registered" || fail "no repository files: $(said "$WORK/station.repo"); nothing was changed"
    call GET /instance-setup.sh '' "$WORK/program"
    [ "$STATUS" = 200 ] || fail "the script cannot be fetched: $(said "$WORK/program"); nothing was changed"
    set_aside || fail "the .repo files cannot be set aside; they are where they were"
    place_repos && remember "$WORK/registered" && install_file "$WORK/program" "$PROGRAM" 755 && start_timer ||
        fail "not everything could be written; the previous .repo files are back"
    CHANGING='' TAKEN_DOWN=''
    say "registered as $ID with profile $(value_of profile "$WORK/registered"); dnf repolist shows the sources"
}

# Who is registered here, where, and how to reach it.
recall() {
    [ -s "$STATE/settings" ] && [ -s "$STATE/id" ] || fail "this machine is not registered"
    identity
    HOST=$(value_of host "$STATE/settings") HTTPS=$(value_of https "$STATE/settings")
    PROXY=$(value_of proxy "$STATE/settings") FINGERPRINT=$(value_of fingerprint "$STATE/settings")
    WAY=$(value_of way "$STATE/settings") OTHERS=$(value_of others "$STATE/settings")
    check_place
    cp "$TRUST/ca.pem" "$WORK/ca.pem" || fail "$TRUST/ca.pem is gone: register again"
    AUTH=none
    [ ! -s "$STATE/token" ] || AUTH=$(cat "$STATE/token")
}

# A credential lives for an hour: after a longer sleep the machine's own secret brings a new one.
renew() {
    put_instance own
    [ "$STATUS" = 200 ] && remember "$WORK/registered" && AUTH=$TOKEN
}

# What is believed from now on; it verifies whoever told it, or it is not taken.
follow_trust() {
    fetch_trust || return 1
    ask GET /health/live '' "$WORK/alive" --cacert "$WORK/ca.pem"
    [ "$STATUS" = 200 ] && install_file "$WORK/ca.pem" "$TRUST/ca.pem" 644 || return 1
    say "the CA file was renewed"
}

# What goes wrong now is said at the next check-in, and again until one has gone well.
check_in() {
    recall
    [ ! -s "$STATE/trouble" ] || TROUBLE=$(cat "$STATE/trouble")
    facts >"$WORK/facts"
    call POST "/instances/$ID/checkin" "$WORK/facts" "$WORK/checked"
    if [ "$STATUS" = 000 ] && follow_trust; then
        call POST "/instances/$ID/checkin" "$WORK/facts" "$WORK/checked"
    fi
    if [ "$STATUS" = 401 ]; then
        renew || fail "no new credential: $(said "$WORK/registered")"
        call POST "/instances/$ID/checkin" "$WORK/facts" "$WORK/checked"
    fi
    if [ "$STATUS" = 410 ]; then
        stop_timer
        fail "this machine was deregistered; --unregister puts the previous .repo files back"
    fi
    [ "$STATUS" = 200 ] || fail "no check-in: $(said "$WORK/checked")"
    case " $(value_of changed "$WORK/checked") " in
        *' deleted '*)
            say "an administrator has deleted this instance"
            leave
            return 0
            ;;
    esac
    case " $(value_of changed "$WORK/checked") " in
        *' trust '*) follow_trust || in_trouble "the CA file could not be renewed: $(said "$WORK/trust")" ;;
    esac
    case " $(value_of changed "$WORK/checked") " in
        *' repos '*)
            fetch_repos "$WORK/checked" && place_repos || {
                in_trouble "the repository files could not be renewed: $(said "$WORK/station.repo")"
                exit 1
            }
            say "the repository files were renewed"
            ;;
    esac
    remember "$WORK/checked" || fail "$STATE cannot be written"
    [ -n "$NEW_TROUBLE" ] || rm -f "$STATE/trouble"
}

# One try of a few seconds: a shutdown is not held up by stations that do not answer.
going_down() {
    recall
    { facts && printf 'going=reboot\n'; } >"$WORK/facts"
    ask POST "/instances/$ID/checkin" "$WORK/facts" "$WORK/told" --cacert "$WORK/ca.pem" --max-time 8 --retry 0
    [ "$STATUS" = 200 ] || warn "the stations do not know that this machine goes down: $(said "$WORK/told")"
}

in_trouble() {
    warn "$*"
    NEW_TROUBLE=yes
    keep trouble "$*"
}

unregister() {
    recall
    if [ "$DRY" = yes ]; then
        say "would deregister $ID at $(url https "$HTTPS") and put the files of $STATE/previous back"
        return 0
    fi
    leave
}

# The old files are back before the stations hear of it: what they then forget is over here.
leave() {
    put_back
    call DELETE "/instances/$ID" '' "$WORK/gone"
    [ "$STATUS" != 401 ] || { renew && call DELETE "/instances/$ID" '' "$WORK/gone"; }
    case $STATUS in
        200 | 404 | 410) ;;
        *)
            [ "$TASK" = unregister ] || fail "not deregistered: $(said "$WORK/gone"); tried again at the next check-in"
            warn "the stations do not know of it yet: $(said "$WORK/gone"); \`station instance delete --force $ID\` tells them"
            ;;
    esac
    stop_timer
    rm -f "$UNITS/station-check-in.timer" "$UNITS/station-check-in.service" "$UNITS/station-going-down.service" "$PROGRAM"
    rm -rf "$TRUST" "$STATE"
    ! has_systemd || systemctl daemon-reload
    say "deregistered; the previous .repo files are back"
}

main() {
    HOST=$STATION_HOST HTTPS=$STATION_HTTPS PROXY=$STATION_PROXY FINGERPRINT=$STATION_FINGERPRINT
    case $HOST in '@'*) HOST='' HTTPS='' PROXY='' FINGERPRINT='' ;; esac
    TASK=register DRY=no KEY_FILE='' RESPONSE='' WAYS='direct proxy' WAY=direct KEY='' TROUBLE='' NEW_TROUBLE='' OTHERS='' AUTH=none
    while [ $# -gt 0 ]; do
        case $1 in
            --key-file | --response-file | --host)
                [ $# -ge 2 ] || fail "$1 needs a value"
                case $1 in --key-file) KEY_FILE=$2 ;; --response-file) RESPONSE=$2 ;; *) HOST=$2 ;; esac
                shift
                ;;
            --by-proxy) WAYS=proxy ;;
            --dry-run) DRY=yes ;;
            --check-in) TASK=check_in ;;
            --going-down) TASK=going_down ;;
            --unregister) TASK=unregister ;;
            --help)
                usage
                return 0
                ;;
            *) fail "unknown option $1; --help tells what there is" ;;
        esac
        shift
    done
    paths
    begin
    if [ "$TASK" = register ]; then
        if [ -n "$RESPONSE" ]; then read_response "$RESPONSE"; else read_key "$KEY_FILE"; fi
        check_place
    fi
    "$TASK"
}

{ main "$@"; exit; }

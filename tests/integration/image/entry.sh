#!/bin/sh
# What a container of docker-compose.yml does: first | second | balancer | upstream | client.
set -eu

run_as_station() { setpriv --reuid station --regid station --init-groups "$@"; }

wait_until() { # at most 120 s
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 120 ] || { echo "entry: gave up on: $*" >&2; exit 1; }
        sleep 1
    done
}

has_group() { [ -e /var/lib/station/identity.json ]; }

records() { # once the first station answers: a token for the second, a source and a profile
    wait_until station status
    demo=$(/opt/station/bin/python -c 'import station.lab.demo as d; print(d.__path__[0])')
    station source create demo --url http://upstream:8080/ --gpgkey "$demo/RPM-GPG-KEY-demo" || :
    station profile create demo --station StationA --source demo || :
    station group token > /handover/token.new && mv /handover/token.new /handover/token
}

case $1 in
first)
    has_group || run_as_station station group create --config /etc/station/station-a.toml
    run_as_station "$0" records &
    exec setpriv --reuid station --regid station --init-groups \
        station run --config /etc/station/station-a.toml
    ;;
records)
    records
    ;;
second)
    if ! has_group; then
        wait_until test -e /handover/token
        run_as_station station join /handover/token station-a \
            --config /etc/station/station-b.toml
    fi
    exec setpriv --reuid station --regid station --init-groups \
        station run --config /etc/station/station-b.toml
    ;;
balancer)
    exec lbproxy --config /etc/station/lbproxy.toml
    ;;
upstream)
    demo=$(/opt/station/bin/python -c 'import station.lab.demo as d; print(d.__path__[0])')
    exec /opt/station/bin/python -m http.server 8080 --directory "$demo/repository"
    ;;
client)
    exec sleep infinity
    ;;
*)
    echo "entry: first, second, balancer, upstream or client, not $1" >&2
    exit 2
    ;;
esac

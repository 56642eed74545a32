#!/usr/bin/env bash
# Envoy in a container: edge.sh <configuration> <port of its admin interface>
#
# On SIGTERM Envoy itself cuts all that is under way. This takes the signal in its place, lets no more in, and ends Envoy once
# nothing is under way, within DRAIN_TIMEOUT_SEC. While the stream service goes away at the same time, its listeners are so told.
# Where it stays, nothing ends them: then they have no more than ALONE_SEC, and are cut as ever. A second signal ends it at once.
#
# The image has bash and coreutils, and no curl.
set -u

readonly CONFIG=$1 ADMIN_PORT=$2
readonly DRAIN_SEC=${DRAIN_TIMEOUT_SEC:-30}
# By then its health checks have told of a service that goes.
readonly ALONE_SEC=5
readonly REFUSE_AFTER_SEC=1

# ask <method> <path>: what the admin interface answers; nothing, if it does not.
ask() {
  local line
  {
    exec 3<>"/dev/tcp/127.0.0.1/$ADMIN_PORT" || return
  } 2>/dev/null
  printf '%s %s HTTP/1.1\r\nHost: edge\r\nContent-Length: 0\r\nConnection: close\r\n\r\n' "$1" "$2" >&3
  while IFS= read -r -t 2 line <&3; do echo "${line%$'\r'}"; done
  exec 3>&-
}

# gauge <name>: its value, or nothing.
gauge() {
  ask GET "/stats?filter=^$1\$" | sed -n "s/^$1: //p"
}

drain() {
  local deadline=$((SECONDS + DRAIN_SEC)) alone='' active streams
  while ((SECONDS < deadline && !hurried)) && kill -0 "$!" 2>/dev/null; do
    # One that is too busy to answer is not idle: it is asked again.
    if [[ -z $alone ]]; then
      [[ $(ask POST '/drain_listeners?graceful') == 'HTTP/1.1 200 '* ]] && alone=$((SECONDS + ALONE_SEC))
    else
      active=$(gauge http.edge.downstream_rq_active)
      [[ $active == 0 ]] && return
      streams=$(gauge cluster.stream.membership_healthy)
      ((SECONDS >= alone && ${streams:-0} > 0)) && return
    fi
    sleep 0.2
  done
}

stop() {
  trap 'hurried=1' TERM INT
  drain
  kill -TERM "$!" 2>/dev/null
  while kill -0 "$!" 2>/dev/null; do wait "$!"; done
  exit 0
}

hurried=0
trap stop TERM INT
envoy -c "$CONFIG" --disable-hot-restart --log-level warn --component-log-level main:error \
  --drain-time-s "$REFUSE_AFTER_SEC" --drain-strategy immediate &
wait "$!"
exit $?

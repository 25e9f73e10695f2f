#!/bin/sh
# Runs one broker for as long as its standard input is open: a test that ends, however it ends,
# leaves no broker behind.
#   node.sh FOLDER JAVA CLASSPATH HEAP [keep]
# FOLDER has server.properties. It prints the broker's process id. A line `TERM` or `KILL` on
# standard input ends the broker with that signal and keeps the folder; the end of standard input
# kills it and removes the folder, unless it is to be kept. NODE_JAVA_OPTIONS stands in place of what
# makes a short-lived JVM light.
folder=$1 java=$2 classpath=$3 heap=$4 keep=${5:-}
options=${NODE_JAVA_OPTIONS:--XX:+UseSerialGC -XX:TieredStopAtLevel=1}
# shellcheck disable=SC2086 # they are several
"$java" "-Xmx$heap" $options -Djava.awt.headless=true \
    -cp "$classpath" kafka.Kafka "$folder/server.properties" \
    >>"$folder/server.out" 2>&1 </dev/null &
broker=$!
echo "$broker"
trap '' INT TERM HUP
read -r how || how=
kill -CONT "$broker" 2>/dev/null
kill -"${how:-KILL}" "$broker" 2>/dev/null
wait "$broker"
[ -n "$how$keep" ] || rm -rf "$folder"

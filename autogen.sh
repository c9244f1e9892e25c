#!/bin/sh
# autogen.sh -- make ./configure from configure.ac (needs autoconf, automake, libtool, pkg-config).
set -eu
cd "$(dirname "$0")"
mkdir -p m4 build-aux
exec autoreconf --install --force

#!/bin/sh
# Prints the version of this tree: v0.2.0 at that tag, v0.2.0+5.g0123456789ab five
# commits later, with .dirty behind it when files have changed. Nothing in it
# depends on the clone.
described=$(git describe --tags --long --abbrev=12 --match 'v[0-9]*' 2>/dev/null) || {
	commit=$(git rev-parse --short=12 HEAD 2>/dev/null) || { echo v0.0.0+dev; exit; }
	described=v0.0.0-$(git rev-list --count HEAD)-g$commit
}
commit=${described##*-}
count=${described%-*}
tag=${count%-*}
count=${count##*-}
dirty=.dirty
git diff --quiet HEAD -- && dirty=
[ "$count$dirty" = 0 ] && echo "$tag" || echo "$tag+$count.$commit$dirty"

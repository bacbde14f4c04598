#!/usr/bin/env bash
# Holds the rules for files that no linter knows: a Go file has at most 500 lines (a test 800), each file of code
# opens with a comment that says what it is for (in Go before or right after the package line), and none names a
# place on somebody's machine.
#
#   build/filecheck.sh [FILE...]     default: all that git tracks, and new files that it does not ignore

. "$(dirname "$0")/lib.sh"

cd "$root"
if [ $# -eq 0 ]; then
	mapfile -t files < <(git ls-files --cached --others --exclude-standard)
	set -- "${files[@]}"
fi

bad=0
complain() {
	say "$1"
	bad=1
}

# opening FILE: its first line that is no #!, build constraint, package line or blank.
opening() {
	grep -m 1 -vE '^(#!|//go:build|package [a-z0-9_]+$|$)' "$1"
}

for file in "$@"; do
	[ -f "$file" ] || continue
	case $file in
	*/testdata/*) continue ;;
	*_test.go) limit=800 comment='^(//|/\*)' ;;
	*.go | *.c | *.h | *.cc | *.cpp) limit=500 comment='^(//|/\*)' ;;
	*.py) limit=500 comment='^(#|"""|r""")' ;;
	*.sh | *.mk | Makefile | .ci/run) limit=500 comment='^#' ;;
	*) continue ;;
	esac
	lines=$(wc -l <"$file")
	if [ "$lines" -gt $limit ]; then
		complain "$file:$limit: $lines lines; at most $limit, so that one reads it in a sitting"
	fi
	if [ "$lines" -gt 0 ] && ! opening "$file" | grep -qE "$comment"; then
		complain "$file:1: does not open with a comment that says what the file is for"
	fi
	while IFS=: read -r line text; do
		complain "$file:$line: names a place on one machine: ${text#"${text%%[![:space:]]*}"}"
	done < <(grep -nE '(^|[^[:alnum:]_./-])/(home/[a-z]+/|Users/|work/|root/)' "$file")
done
exit $bad

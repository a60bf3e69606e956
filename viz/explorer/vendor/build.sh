#!/usr/bin/env bash
# Make dagre.min.js anew: what package-lock.json pins, checked by npm against its
# hashes, with its licence in front and without the reference to a source map.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cp "$here/package.json" "$here/package-lock.json" "$work"
cd "$work"
npm ci --ignore-scripts --no-audit --no-fund --silent
package=node_modules/@dagrejs/dagre
version=$(node -p "require('./$package/package.json').version")
{
    printf '/*! dagre %s, https://github.com/dagrejs/dagre\n\n' "$version"
    cat "$package/LICENSE"
    printf '*/\n'
    grep -v -e '^//# sourceMappingURL' -e '^/\*! For license information' "$package/dist/dagre.min.js"
} >"$here/dagre.min.js"
cp "$package/LICENSE" "$here/LICENSE.dagre"
sha256sum "$here/dagre.min.js"

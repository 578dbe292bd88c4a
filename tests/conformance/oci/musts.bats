#!/usr/bin/env bats
# MUSTS.md and the suite agree.

TABLE=$BATS_TEST_DIRNAME/MUSTS.md

rows() { grep '^| ' "$TABLE" | grep -v '^| section |'; }

@test "MUSTS.md: every test that is named there is in the suite" {
  local name missing=0 count=0
  grep -h '^@test "' "$BATS_TEST_DIRNAME"/*.bats | sed 's/^@test "\(.*\)" {$/\1/' >"$BATS_TEST_TMPDIR/tests"
  while read -r name; do
    count=$((count + 1))
    grep -Fxq -- "$name" "$BATS_TEST_TMPDIR/tests" || { echo "there is no test \"$name\""; missing=1; }
  done < <(rows | sed 's/.* | \(.*\) |$/\1/' | grep -o '`[^`]*`' | tr -d '`' | grep -v '^tests/')
  [ "$missing" -eq 0 ]
  [ "$count" -gt 150 ]
}

@test "MUSTS.md: every demand has a test, or a reason why not" {
  local row
  while read -r row; do
    [[ "$row" =~ ^\|\ [^|]+\ \|\ [^|]+\ \|\ [^|]+\ \|$ ]] || { echo "not three columns: $row"; return 1; }
  done < <(rows)
}

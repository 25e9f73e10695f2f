//! Tests of the views, on real indexes in temporary folders.

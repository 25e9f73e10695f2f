//! How the one memory setting is shared out.

/// What a view's writer needs at least; tantivy refuses less.
const WRITER_MIN: u64 = 15_000_000;
/// More than this does not make a view's writer faster.
const WRITER_MAX: u64 = 64 << 20;
/// What a worker thread needs at least for the writes of two commits.
const OVERLAY_MIN: u64 = 8 << 20;
/// What the write buffers of the log and the state need at least.
const WRITE_BUFFERS_MIN: u64 = 16 << 20;
/// What the block cache needs at least: it holds indexes and filters too.
const BLOCK_CACHE_MIN: u64 = 16 << 20;

/// The parts of the memory setting, in bytes. Together they never exceed it.
///
/// What has a limit of its own is not part of it: the appender's queue, the keys of a compaction,
/// request bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryShares {
    /// The block cache that the log and the state share.
    pub block_cache_bytes: u64,
    /// Write buffers of the log and the state together.
    pub write_buffer_bytes: u64,
    /// Writes of one worker thread that wait for the commit: the open and the committing overlay
    /// together.
    pub overlay_bytes: u64,
    /// The index writer of one view.
    pub index_writer_bytes: u64,
}

/// The memory does not suffice.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "memory of {given_mib} MiB is too little for {views} views and {threads} worker threads: set \
     memory_mib to {needed_mib} or more"
)]
pub struct MemoryError {
    /// What was given, in MiB, rounded down.
    pub given_mib: u64,
    /// The least that would do, in MiB.
    pub needed_mib: u64,
    /// Views that need a writer.
    pub views: usize,
    /// Worker threads that need overlays.
    pub threads: usize,
}

impl MemoryShares {
    /// Shares `memory_bytes` among `views` index writers, `threads` worker threads in all, the
    /// block cache and the write buffers.
    ///
    /// Each gets the least that it can work with. What is left goes by quarters to the index
    /// writers (up to 64 MiB each), the overlays and the write buffers; the block cache takes the
    /// rest.
    ///
    /// # Errors
    /// When the least for all is more than there is. The error says how much is needed.
    pub fn of(memory_bytes: u64, views: usize, threads: usize) -> Result<Self, MemoryError> {
        let (writers, workers) = (views as u64, threads as u64);
        let needed =
            writers * WRITER_MIN + workers * OVERLAY_MIN + WRITE_BUFFERS_MIN + BLOCK_CACHE_MIN;
        let Some(spare) = memory_bytes.checked_sub(needed) else {
            let needed_mib = needed.div_ceil(1 << 20);
            return Err(MemoryError { given_mib: memory_bytes >> 20, needed_mib, views, threads });
        };
        let quarter = spare / 4;
        let more = |parts: u64| quarter.checked_div(parts).unwrap_or(0);
        let index_writer_bytes = (WRITER_MIN + more(writers)).min(WRITER_MAX);
        let overlay_bytes = OVERLAY_MIN + more(workers);
        let write_buffer_bytes = WRITE_BUFFERS_MIN + quarter;
        let given = writers * index_writer_bytes + workers * overlay_bytes + write_buffer_bytes;
        assert!(given + BLOCK_CACHE_MIN <= memory_bytes, "the shares fit into the memory");
        let block_cache_bytes = memory_bytes - given;
        Ok(Self { block_cache_bytes, write_buffer_bytes, overlay_bytes, index_writer_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_never_exceed_the_whole_and_waste_nothing() {
        for mib in [64, 100, 256, 257, 1024, 65_536] {
            for (views, threads) in [(0, 0), (0, 1), (1, 1), (4, 3), (4, 1), (20, 8)] {
                let Ok(shares) = MemoryShares::of(mib << 20, views, threads) else { continue };
                let sum = shares.block_cache_bytes
                    + shares.write_buffer_bytes
                    + shares.overlay_bytes * threads as u64
                    + shares.index_writer_bytes * views as u64;
                assert_eq!(sum, mib << 20, "{mib} MiB, {views} views, {threads} threads");
                assert!((WRITER_MIN..=WRITER_MAX).contains(&shares.index_writer_bytes));
            }
        }
    }

    #[test]
    fn the_default_memory_suffices_for_the_topologies_of_the_demo() {
        let shares = MemoryShares::of(256 << 20, 4, 3).unwrap();
        assert!(shares.block_cache_bytes >= 32 << 20, "{shares:?}");
    }

    #[test]
    fn too_little_memory_is_refused_with_what_would_do() {
        let error = MemoryShares::of(64 << 20, 4, 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "memory of 64 MiB is too little for 4 views and 1 worker threads: set memory_mib to \
             98 or more"
        );
        let enough = error.needed_mib << 20;
        assert!(MemoryShares::of(enough, 4, 1).is_ok());
        assert!(MemoryShares::of(enough - (1 << 20), 4, 1).is_err());
    }
}

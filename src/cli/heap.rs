//! What the allocator does with memory that is given back. Beside `receive/socket.rs` the only file with `unsafe`: that call
//! has no safe wrapper.
#![allow(unsafe_code)]

/// From so many octets on, a block is the kernel's own, and goes back to it when it is freed.
#[cfg(target_env = "gnu")]
const GREAT_OCTETS: core::ffi::c_int = 1 << 20;

/// Has great blocks given back to the system as soon as they are freed.
///
/// glibc raises the size from which it does so, up to 32 MiB, with each such block that is freed (mallopt(3),
/// `M_MMAP_THRESHOLD`). Prefix tables, the texts of configurations and usage tables then lie between small blocks that stay,
/// and what a reload needed for a second is kept for ever. To name a size ends that. To be called before there are threads.
pub(super) fn give_back_great_blocks() {
    #[cfg(target_env = "gnu")]
    for option in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
        // SAFETY: sets a number of the allocator's, under its own lock; any value is allowed. Where it refuses, nothing has
        // changed, and memory is kept as it would be without this.
        unsafe { libc::mallopt(option, GREAT_OCTETS) };
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    const BLOCK: usize = 2 << 20;
    const BLOCKS: usize = 50;

    /// Octets of this process in memory, that no file holds.
    fn resident() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").expect("a line of the status");
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("a line of the status");
        line.split_whitespace()
            .nth(1)
            .expect("a line of the status")
            .parse::<usize>()
            .expect("a line of the status")
            * 1024
    }

    /// Great blocks, some of which were freed before, with small ones between them that stay.
    #[test]
    fn great_blocks_are_given_back_although_small_ones_between_them_stay() {
        super::give_back_great_blocks();
        let before = resident();
        let mut small: Vec<Box<[u8]>> = Vec::new();
        for _ in 0..3 {
            let great: Vec<Vec<u8>> = (0..BLOCKS)
                .map(|_| {
                    small.push(vec![1; 1000].into());
                    vec![1; BLOCK]
                })
                .collect();
            assert!(resident() >= before + BLOCKS * BLOCK, "they are not there");
            drop(great);
            let kept = resident().saturating_sub(before);
            assert!(kept < 5 * BLOCK, "{kept} octets of {}", BLOCKS * BLOCK);
        }
        assert_eq!(small.len(), 3 * BLOCKS);
    }
}

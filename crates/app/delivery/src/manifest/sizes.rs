//! The sizes that Fargate has: which memory goes with which CPU.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html>

use std::ops::RangeInclusive;

/// CPU units, MiB from and to, in steps of MiB.
const SIZES: [(u32, RangeInclusive<u32>, u32); 7] = [
    (256, 512..=2048, 512),
    (512, 1024..=4096, 1024),
    (1024, 2048..=8192, 1024),
    (2048, 4096..=16384, 1024),
    (4096, 8192..=30720, 1024),
    (8192, 16384..=61440, 4096),
    (16384, 32768..=122_880, 8192),
];

/// Every CPU size, in units.
pub(super) fn cpus() -> impl Iterator<Item = u32> {
    SIZES.iter().map(|(cpu, ..)| *cpu)
}

/// The memory that goes with this CPU, in MiB; nothing for a CPU that does not exist.
pub(super) fn memories(cpu: u32) -> Vec<u32> {
    let size = SIZES.iter().find(|(units, ..)| *units == cpu);
    let all = size.into_iter().flat_map(|(_, range, step)| range.clone().step_by(*step as usize));
    // The smallest size has no 1536.
    all.filter(|memory| (cpu, *memory) != (256, 1536)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_that_of_fargate() {
        assert_eq!(memories(256), [512, 1024, 2048]);
        assert_eq!(memories(512), [1024, 2048, 3072, 4096]);
        assert_eq!(memories(4096).last(), Some(&30720));
        assert_eq!(memories(8192).first(), Some(&16384));
        assert_eq!(memories(16384).len(), 12);
        assert!(memories(300).is_empty());
    }
}

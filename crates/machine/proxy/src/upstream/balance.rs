//! Which target gets a request. Pure.
//!
//! Healthy targets get the traffic. Where a group has none, its unhealthy ones get it all (*fail-open*); a target
//! whose first checks are not decided (*initial*) and a draining one get no new request in any case.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health.html>

/// A target's health as routing sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Standing {
    Initial,
    Healthy,
    Unhealthy,
}

impl From<u8> for Standing {
    fn from(value: u8) -> Self {
        match value {
            1 => Self::Healthy,
            2 => Self::Unhealthy,
            _ => Self::Initial,
        }
    }
}

/// Puts the indexes of the targets that get requests into `eligible`. The items are standing and draining.
pub(crate) fn select(targets: impl Iterator<Item = (Standing, bool)> + Clone, eligible: &mut Vec<u32>) {
    for wanted in [Standing::Healthy, Standing::Unhealthy] {
        eligible.clear();
        let indexed = targets.clone().enumerate();
        let fits = indexed.filter(|(_, (standing, draining))| *standing == wanted && !draining);
        eligible.extend(fits.map(|(index, _)| index as u32));
        if !eligible.is_empty() {
            return;
        }
    }
}

/// The next of `count` > 0.
pub(crate) fn round_robin(cursor: &mut u32, count: usize) -> usize {
    *cursor = cursor.wrapping_add(1);
    *cursor as usize % count
}

/// The one of `eligible` (not empty) with the fewest requests in flight; among equals they take turns.
pub(crate) fn least_outstanding(cursor: &mut u32, eligible: &[u32], in_flight: impl Fn(u32) -> u32) -> u32 {
    let start = round_robin(cursor, eligible.len());
    let turned = eligible[start..].iter().chain(&eligible[..start]);
    *turned.min_by_key(|target| in_flight(**target)).unwrap_or(&eligible[start])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(targets: &[(Standing, bool)]) -> Vec<u32> {
        let mut eligible = Vec::new();
        select(targets.iter().copied(), &mut eligible);
        eligible
    }

    #[test]
    fn healthy_ones_first_then_fail_open() {
        use Standing::{Healthy, Initial, Unhealthy};
        assert_eq!(selected(&[(Healthy, false), (Unhealthy, false), (Healthy, false)]), [0, 2]);
        assert_eq!(selected(&[(Unhealthy, false), (Unhealthy, false)]), [0, 1]);
        assert_eq!(selected(&[(Unhealthy, false), (Initial, false)]), [0]);
        assert_eq!(selected(&[(Healthy, true), (Unhealthy, false), (Unhealthy, true)]), [1]);
        assert!(selected(&[(Initial, false), (Healthy, true)]).is_empty());
        assert!(selected(&[]).is_empty());
    }

    #[test]
    fn round_robin_is_even() {
        let (mut cursor, mut counts) = (u32::MAX - 3, [0; 3]);
        for _ in 0..300 {
            counts[round_robin(&mut cursor, 3)] += 1;
        }
        // The cursor's wrap costs at most one turn.
        assert!(counts.iter().all(|count| (99..=101).contains(count)), "{counts:?}");
    }

    #[test]
    fn least_outstanding_takes_the_idlest_and_turns_among_equals() {
        let load = [5, 1, 3, 1];
        let mut cursor = 0;
        let mut counts = [0; 4];
        for _ in 0..40 {
            counts[least_outstanding(&mut cursor, &[0, 1, 2, 3], |target| load[target as usize]) as usize] +=
                1;
        }
        assert_eq!((counts[0], counts[2]), (0, 0));
        assert!(counts[1] >= 10 && counts[3] >= 10, "{counts:?}");
    }
}

//! The deployment circuit breaker's threshold, and the back-off of deployments whose tasks do not start.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html>
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-throttle-logic.html>

use std::time::Duration;

/// AWS says only that the delay grows, to at most 15 minutes.
const FIRST_DELAY: Duration = Duration::from_secs(10);
const LAST_DELAY: Duration = Duration::from_secs(15 * 60);

/// From this many failed starts in a row on the service is said to be unable to start tasks consistently.
pub(super) const IMPAIRED_AFTER: u32 = 3;

/// How many failures in a row fail a deployment of `desired` tasks: half of them, at least 3, at most 200.
pub(super) fn threshold(desired: u32) -> u32 {
    desired.div_ceil(2).clamp(3, 200)
}

/// How long to wait after `failures` (1 or more) tasks in a row that never reached RUNNING.
pub(super) fn delay(failures: u32) -> Duration {
    FIRST_DELAY.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LAST_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_of_the_developer_guide() {
        for (desired, expected) in
            [(0, 3), (1, 3), (2, 3), (4, 3), (6, 3), (7, 4), (25, 13), (399, 200), (400, 200), (5000, 200)]
        {
            assert_eq!(threshold(desired), expected, "desired {desired}");
        }
    }

    #[test]
    fn the_delay_grows_to_a_quarter_of_an_hour() {
        let delays: Vec<u64> = [1, 2, 3, 7, 8, 100].map(|n| delay(n).as_secs()).into();
        assert_eq!(delays, [10, 20, 40, 640, 900, 900]);
    }
}

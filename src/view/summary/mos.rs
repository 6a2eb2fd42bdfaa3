//! Estimates how people would rate a call: the mean opinion score, from 1 (bad) to 4.5.

/// Returns the estimate for one minute, by a simplified E-model (ITU-T G.107). `latency_ms` is the time of a round
/// trip, as Zoom reports it. Returns `None` if the values are too large to calculate with.
///
/// For example, 126 ms, 6 ms of jitter and 0.3 % of loss have an effective latency of 148 ms, a rating of 94.768 −
/// 3.7 − 0.75 = 90.318 and a score of 4.35.
pub(super) fn estimate(latency_ms: f64, jitter_ms: f64, loss_percent: f64) -> Option<f64> {
    let effective = latency_ms + 2.0 * jitter_ms + 10.0;
    let delay = if effective < 160.0 { effective / 40.0 } else { (effective - 120.0) / 10.0 };
    let rating = 94.768 - delay - 2.5 * loss_percent;
    if rating.is_nan() {
        return None;
    }
    let rating = rating.clamp(0.0, 100.0);
    let score = 1.0 + 0.035 * rating + 7e-6 * rating * (rating - 60.0) * (100.0 - rating);
    Some(score.clamp(1.0, 4.5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_falls_with_latency_jitter_and_loss() {
        for (latency, jitter, loss, expected) in [
            (126.0, 6.0, 0.3, 4.347),
            (0.0, 0.0, 0.0, 4.433),
            // The two branches meet at an effective latency of 160 ms: 94.768 − 4.
            (150.0, 0.0, 0.0, 4.357),
            (149.999, 0.0, 0.0, 4.357),
            (250.0, 30.0, 2.0, 3.586),
            (0.0, 0.0, 20.0, 2.290),
            (2_000.0, 0.0, 0.0, 1.0),
            (1e300, 1e300, 100.0, 1.0),
            (-4_000.0, 0.0, 0.0, 4.5),
        ] {
            let score = estimate(latency, jitter, loss).unwrap();
            assert!((score - expected).abs() < 0.0005, "{latency} {jitter} {loss}: {score}");
        }
        assert_eq!(estimate(f64::MAX, -f64::MAX, f64::MAX), None);
    }
}

//! Against slow exact sums, and against themselves.

use proptest::prelude::*;

use super::*;

/// The tail term by term, each from the one before, in 128-bit fixed point scaled by the largest: slow and plain.
fn summed(k: u64, n: u64, p: f64) -> f64 {
    // ln C(n, j) by summing logarithms, then a sum of exponentials from the smallest to the largest.
    let logarithm = |j: u64| -> f64 {
        let choose: f64 = (1..=j).map(|i| ((n - j + i) as f64 / i as f64).ln()).sum();
        choose + j as f64 * p.ln() + (n - j) as f64 * (-p).ln_1p()
    };
    let mut terms: Vec<f64> = (k..=n).map(|j| logarithm(j).exp()).collect();
    terms.sort_by(f64::total_cmp);
    terms.iter().sum()
}

#[test]
fn known_tails() {
    // n = 10, p = 1/2: sums of binomial coefficients over 1024.
    for (k, numerator) in [(0, 1024.0), (1, 1023.0), (5, 638.0), (8, 56.0), (10, 1.0), (11, 0.0)] {
        assert!((at_least(k, 10, 0.5) - numerator / 1024.0).abs() < 1e-14, "{k}");
    }
    assert!((at_most(4, 10, 0.5) - 386.0 / 1024.0).abs() < 1e-14);
    assert!((at_most(10, 10, 0.5) - 1.0).abs() < 1e-15);
    assert!((at_least(3, 3, 0.1) / 1e-3 - 1.0).abs() < 1e-12);
}

#[test]
fn large_counts_agree_with_the_normal_limit() {
    // One standard deviation above the mean, continuity corrected, at 10⁹ requests.
    let (n, p) = (1_000_000_000_u64, 0.05);
    let mean = n as f64 * p;
    let deviation = (mean * (1.0 - p)).sqrt();
    let tail = at_least((mean + deviation + 0.5).round() as u64, n, p);
    assert!((tail - 0.158_655).abs() < 1e-4, "{tail}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn tails_equal_the_plain_sum(n in 1_u64..400, share in 0.0_f64..=1.0, p in 0.0005_f64..0.9995) {
        let k = (share * n as f64) as u64;
        let (fast, slow) = (at_least(k, n, p), summed(k, n, p));
        prop_assert!((fast - slow).abs() <= 1e-10 * slow.max(1e-290), "k={k} n={n} p={p}: {fast} {slow}");
        prop_assert!((at_most(k, n, p) + at_least(k + 1, n, p) - 1.0).abs() < 1e-10);
    }

    #[test]
    fn tails_fall_with_k_and_rise_with_n_and_p(n in 2_u64..5_000, share in 0.0_f64..1.0, p in 0.001_f64..0.5) {
        let k = (share * n as f64) as u64;
        let slack = 1.0 + 1e-11;
        prop_assert!(at_least(k + 1, n, p) <= at_least(k, n, p) * slack);
        prop_assert!(at_least(k, n, p) <= at_least(k, n + 1, p) * slack);
        prop_assert!(at_least(k, n, p) <= at_least(k, n, p * 1.01) * slack);
    }
}

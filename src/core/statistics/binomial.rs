//! Tails of the binomial distribution, exact to about 12 digits at any size.
//!
//! The tail is the regularised incomplete beta function, `P(X ≥ k | n, p) = I_p(k, n − k + 1)` (NIST Digital Library of
//! Mathematical Functions, 8.17.5). Its continued fraction (DLMF 8.17.22) is evaluated by Lentz's method as modified by
//! Thompson and Barnett (Journal of Computational Physics 64, 1986). The factor in front of it is a binomial probability,
//! computed by the saddle-point expansion of C. Loader, *Fast and accurate computation of binomial probabilities* (2000),
//! which loses no digits where logarithms of factorials would.

use std::f64::consts::TAU;

/// Most terms of the continued fraction. It needs about the square root of `n` of them: enough for 10¹¹ requests.
const FRACTION_TERMS_LIMIT: u32 = 1_000_000;

/// Relative change at which the continued fraction has settled.
const FRACTION_SETTLED: f64 = 1e-15;

/// P(X ≥ k) for X ~ Binomial(n, p), with 0 < p < 1. One for k = 0, zero for k > n.
#[expect(clippy::many_single_char_names, reason = "the names of the source")]
pub fn at_least(k: u64, n: u64, p: f64) -> f64 {
    if k == 0 {
        return 1.0;
    }
    if k > n {
        return 0.0;
    }
    let (a, b) = (k as f64, (n - k) as f64 + 1.0);
    // I_p(a, b) = 1 − I_{1−p}(b, a); the fraction converges fast on one side of the mean.
    if p < (a + 1.0) / (a + b + 2.0) {
        probability(k, n, p) * (1.0 - p) * fraction(a, b, p)
    } else {
        1.0 - probability(k - 1, n, p) * p * fraction(b, a, 1.0 - p)
    }
    .clamp(0.0, 1.0)
}

/// P(X ≤ k) for X ~ Binomial(n, p), with 0 < p < 1.
pub fn at_most(k: u64, n: u64, p: f64) -> f64 {
    if k >= n { 1.0 } else { at_least(n - k, n, 1.0 - p) }
}

/// P(X = k), by Loader's expansion.
fn probability(k: u64, n: u64, p: f64) -> f64 {
    let (failures, trials) = (k as f64, n as f64);
    let others = (n - k) as f64;
    if k == 0 {
        return (trials * (-p).ln_1p()).exp();
    }
    if k == n {
        return (trials * p.ln()).exp();
    }
    let exponent = stirling_error(n)
        - stirling_error(k)
        - stirling_error(n - k)
        - deviance(failures, trials * p)
        - deviance(others, trials * (1.0 - p));
    exponent.exp() * (trials / (TAU * failures * others)).sqrt()
}

/// ln n! minus Stirling's approximation of it, for n ≥ 1.
fn stirling_error(n: u64) -> f64 {
    /// Below this the series is not exact enough, and the factorial itself is.
    const SMALL: u64 = 16;
    let x = n as f64;
    if n < SMALL {
        let factorial: f64 = (2..=n).map(|factor| factor as f64).product();
        return factorial.ln() - (0.5 * (TAU * x).ln() + x * x.ln() - x);
    }
    let square = x * x;
    (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - (1.0 / 1680.0 - 1.0 / (1188.0 * square)) / square) / square) / square)
        / x
}

/// x·ln(x/m) + m − x without loss of digits where x is near m.
fn deviance(x: f64, m: f64) -> f64 {
    /// Terms of the series; each is smaller by at least a hundredth, so that far fewer are used.
    const TERMS_LIMIT: u32 = 1_000;
    let difference = x - m;
    if difference.abs() >= 0.1 * (x + m) {
        return x * (x / m).ln() - difference;
    }
    let ratio = difference / (x + m);
    let mut sum = difference * ratio;
    let mut term = 2.0 * x * ratio;
    for j in 1..TERMS_LIMIT {
        term *= ratio * ratio;
        let next = sum + term / f64::from(2 * j + 1);
        if next.to_bits() == sum.to_bits() {
            break;
        }
        sum = next;
    }
    sum
}

/// The continued fraction of `I_x(a, b)`.
#[expect(clippy::many_single_char_names, reason = "the names of the source")]
fn fraction(a: f64, b: f64, x: f64) -> f64 {
    /// Stands in for a zero in Lentz's method.
    const TINY: f64 = 1e-300;
    let kept = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / kept(1.0 - (a + b) * x / (a + 1.0));
    let mut result = d;
    for term in 1..=FRACTION_TERMS_LIMIT {
        let m = f64::from(term);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / kept(1.0 + even * d);
        c = kept(1.0 + even / c);
        result *= c * d;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / kept(1.0 + odd * d);
        c = kept(1.0 + odd / c);
        result *= c * d;
        if (c * d - 1.0).abs() < FRACTION_SETTLED {
            break;
        }
    }
    result
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small positive numbers")]
mod tests;

//! What a receiver's answer, or its absence, means for a page.

use reqwest::{StatusCode, header};

use crate::core::{page::DeliveryOutcome, sample::Reason, time::WallTime};

/// Longest wait that a receiver may ask for: past a day nobody waits for the page any more, and other channels and
/// repetitions have long taken over.
pub(super) const RETRY_AFTER_LIMIT_SECONDS: u64 = 24 * 60 * 60;

/// Judges an answer by its status alone; its body is not read. Whatever is neither success nor 410 is tried again: a proxy or
/// an ingress that is being reloaded, or somebody's session that has run out, answers 401, 403, 404 or a redirect for a while,
/// and a page is not lost by that.
///
/// Sources: the Standard Webhooks specification (2xx is success, everything else is not; 410 says that the receiver is
/// gone; no redirects) and RFC 9110 for `Retry-After`.
pub(super) fn judge(response: &reqwest::Response, now: WallTime) -> DeliveryOutcome {
    let status = response.status();
    if status.is_success() {
        return DeliveryOutcome::Delivered;
    }
    let reason = Reason::new(&match status {
        StatusCode::GONE => "answered 410: the receiver is gone for good".to_owned(),
        _ if status.is_redirection() => format!("answered {status}: redirects are not followed, mend the URL"),
        _ => format!("answered {status}"),
    });
    if status == StatusCode::GONE {
        return DeliveryOutcome::Refused(reason);
    }
    let retry_after_seconds = response
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| retry_after(text, now));
    DeliveryOutcome::Retry { reason, retry_after_seconds }
}

/// `Retry-After` in seconds from `now`: a number, or an HTTP date (RFC 9110, section 10.2.3). What is neither is as if
/// it were not there.
fn retry_after(text: &str, now: WallTime) -> Option<u64> {
    let text = text.trim();
    let seconds = if let Ok(seconds) = text.parse::<u64>() {
        seconds
    } else {
        let then = jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_millisecond();
        WallTime::from_millis(then).since(now).as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
    };
    Some(seconds.min(RETRY_AFTER_LIMIT_SECONDS))
}

/// What a failed request means: nearly always "later", for a receiver that is down now may be up soon.
pub(super) fn judge_error(error: reqwest::Error) -> DeliveryOutcome {
    // The URL may hold a secret, and must not reach a page or a log.
    let error = error.without_url();
    let cause = root_cause(&error);
    if error.is_builder() {
        return DeliveryOutcome::Refused(Reason::new(&format!("the request cannot be made: {cause}")));
    }
    let what = if error.is_connect() { "could not connect" } else { "no answer" };
    DeliveryOutcome::Retry { reason: Reason::new(&format!("{what}: {cause}")), retry_after_seconds: None }
}

/// The innermost cause in words; the outer ones only say "error sending request".
pub(super) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    // An error chain is finite, but nothing in its type says so.
    for _ in 0..16 {
        match innermost.source() {
            Some(source) => innermost = source,
            None => break,
        }
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = WallTime::from_millis(784_111_777_000); // Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110
        for (text, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:51:37 GMT", Some(120)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("99999999999", Some(RETRY_AFTER_LIMIT_SECONDS)),
            ("-3", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(text, now), expected, "{text:?}");
        }
    }
}

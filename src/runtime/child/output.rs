//! A child's output: all of it is read, little of it is kept.

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::sync::CancellationToken;

use super::OUTPUT_LIMIT_BYTES;

/// Read at once; a pipe of Linux holds so much.
const READ_BYTES: usize = 64 * 1024;

/// The first half and the last of what was written, and how much was left out between them.
#[derive(Debug, Default)]
pub(super) struct Bounded {
    head: Vec<u8>,
    /// A ring once it is full; `oldest` is where it begins.
    tail: Vec<u8>,
    oldest: usize,
    left_out: u64,
}

impl Bounded {
    const HALF: usize = OUTPUT_LIMIT_BYTES / 2;

    fn push(&mut self, bytes: &[u8]) {
        let to_head = bytes.len().min(Self::HALF - self.head.len());
        self.head.extend_from_slice(&bytes[..to_head]);
        let mut rest = &bytes[to_head..];
        if rest.len() > Self::HALF {
            let skipped = rest.len() - Self::HALF;
            self.left_out += skipped as u64 + self.tail.len() as u64;
            self.tail.clear();
            self.oldest = 0;
            rest = &rest[skipped..];
        }
        let grown = rest.len().min(Self::HALF - self.tail.len());
        self.tail.extend_from_slice(&rest[..grown]);
        for byte in &rest[grown..] {
            self.tail[self.oldest] = *byte;
            self.oldest = (self.oldest + 1) % Self::HALF;
            self.left_out += 1;
        }
    }

    /// As text; what is no UTF-8 is shown as such.
    pub(super) fn into_text(mut self) -> String {
        self.tail.rotate_left(self.oldest);
        if self.left_out == 0 {
            self.head.append(&mut self.tail);
            return String::from_utf8_lossy(&self.head).into_owned();
        }
        format!(
            "{}\n… {} bytes left out …\n{}",
            String::from_utf8_lossy(&self.head),
            self.left_out,
            String::from_utf8_lossy(&self.tail)
        )
    }
}

/// Reads until the end of `pipe`, or until told to stop because somebody else still holds it open; then the pipe is
/// given back.
pub(super) async fn collect<P: AsyncRead + Unpin>(mut pipe: P, stop: CancellationToken) -> (Bounded, Option<P>) {
    let mut kept = Bounded::default();
    let mut buffer = vec![0; READ_BYTES];
    // Bounded by the caller: it stops this some time after the child has ended.
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return (kept, Some(pipe)),
            read = pipe.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return (kept, None),
                Ok(count) => kept.push(&buffer[..count]),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn head_and_tail_are_the_true_ones(chunks in prop::collection::vec(0_usize..70_000, 0..6)) {
            let total: usize = chunks.iter().sum();
            let all: Vec<u8> = (0..total).map(|place| b'a' + u8::try_from(place % 23).expect("small")).collect();
            let mut kept = Bounded::default();
            let mut from = 0;
            for chunk in chunks {
                kept.push(&all[from..from + chunk]);
                from += chunk;
            }
            let text = kept.into_text();
            if total <= OUTPUT_LIMIT_BYTES {
                prop_assert_eq!(text.as_bytes(), all.as_slice());
            } else {
                let half = OUTPUT_LIMIT_BYTES / 2;
                prop_assert!(text.as_bytes().starts_with(&all[..half]));
                prop_assert!(text.as_bytes().ends_with(&all[total - half..]));
                let between = format!("\n… {} bytes left out …\n", total - 2 * half);
                prop_assert_eq!(&text[half..text.len() - half], between.as_str());
            }
        }
    }

    #[test]
    fn what_is_no_text_is_shown_as_such() {
        let mut kept = Bounded::default();
        kept.push(b"a\xffb");
        assert_eq!(kept.into_text(), "a\u{fffd}b");
    }
}

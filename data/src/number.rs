//! Texts to numbers. Knows nothing of what a table is.

/// The number that a text is in decimal notation.
#[inline]
pub(crate) fn number(cell: &[u8]) -> Option<f64> {
    short_decimal(cell).or_else(|| str::from_utf8(cell).ok()?.parse().ok())
}

/// Most digits of a whole number that is below 2^53, whatever they are.
const EXACT_DIGITS: usize = 15;

/// Powers of ten, all of them exact.
const POWERS: [f64; EXACT_DIGITS + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// What most cells are, in a fraction of the time that any number takes: a few digits, perhaps with a sign and a point. Both
/// the digits and the power of ten that they are over are exact, so that their quotient is the nearest `f64`, as for any
/// number. `None` says nothing.
#[inline]
fn short_decimal(cell: &[u8]) -> Option<f64> {
    let (is_negative, text) = match cell {
        [b'-', text @ ..] => (true, text),
        text => (false, text),
    };
    if text.len() > EXACT_DIGITS + 1 {
        return None;
    }
    let (mut whole, mut digits, mut decimals) = (0_i64, 0, None);
    for &byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit < 10 {
            whole = 10 * whole + i64::from(digit);
            digits += 1;
        } else if byte == b'.' && decimals.is_none() {
            decimals = Some(digits);
        } else {
            return None;
        }
    }
    if !(1..=EXACT_DIGITS).contains(&digits) {
        return None;
    }
    let value = match decimals {
        None => whole as f64,
        Some(before) => whole as f64 / POWERS[digits - before],
    };
    Some(if is_negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_decimals_are_what_any_decimal_is() {
        let mut state = 1_u64;
        let mut random = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut short = 0;
        for _ in 0..200_000 {
            let sign = ["", "", "-", "-", "+"][random(5) as usize];
            let mut text: String = (0..random(18)).map(|_| random(10).to_string()).collect();
            if random(3) > 0 {
                text.insert(random(text.len() as u64 + 1) as usize, '.');
            }
            let text = format!("{sign}{text}");
            let wanted = text.parse::<f64>().ok();
            let found = short_decimal(text.as_bytes());
            assert_eq!(
                number(text.as_bytes()).map(f64::to_bits),
                wanted.map(f64::to_bits),
                "{text}"
            );
            if let Some(found) = found {
                assert_eq!(Some(found.to_bits()), wanted.map(f64::to_bits), "{text}");
                short += 1;
            }
        }
        assert!(short > 100_000, "{short}");
        for text in
            ["", "-", ".", "-.", "1.2.3", "1e5", "0x1", "1,5", "--1", "1-", "inf", "\u{661}"]
        {
            assert_eq!(short_decimal(text.as_bytes()), None, "{text}");
        }
        assert_eq!(short_decimal(b"-0").map(f64::to_bits), Some((-0.0_f64).to_bits()));
    }
}

use super::*;

#[test]
fn numbers_of_every_type_are_read() {
    for (dtype, bytes, number, label) in [
        ("|b1", &[1][..], 1.0, "True"),
        ("?", &[0], 0.0, "False"),
        ("|i1", &[0xfe], -2.0, "-2"),
        ("|u1", &[0xfe], 254.0, "254"),
        ("<i2", &[0x01, 0xff], -255.0, "-255"),
        (">i2", &[0xff, 0x01], -255.0, "-255"),
        ("<u2", &[0x01, 0xff], 65_281.0, "65281"),
        ("<i4", &[0, 0, 0, 0x80], -2_147_483_648.0, "-2147483648"),
        (">u4", &[0x80, 0, 0, 0], 2_147_483_648.0, "2147483648"),
        (
            "<i8",
            &(-9_007_199_254_740_993_i64).to_le_bytes(),
            -9_007_199_254_740_992.0,
            "-9007199254740993",
        ),
        (">u8", &u64::MAX.to_be_bytes(), 18_446_744_073_709_551_615.0, "18446744073709551615"),
        ("<f2", &[0x00, 0x3e], 1.5, "1.5"),
        (">f4", &0.1_f32.to_be_bytes(), 0.1_f32.into(), "0.1"),
        ("<f8", &0.1_f64.to_le_bytes(), 0.1, "0.1"),
        ("=f8", &7_f64.to_ne_bytes(), 7.0, "7"),
        ("<f8", &(-0.0_f64).to_le_bytes(), 0.0, "0"),
        ("<f8", &1e39_f64.to_le_bytes(), 1e39, "1e39"),
        ("<f4", &1e-9_f32.to_le_bytes(), 1e-9_f32.into(), "1e-9"),
    ] {
        let element = Element::parse(dtype).unwrap();
        assert_eq!(element.size, bytes.len(), "{dtype}");
        let bits = element.bits(bytes);
        assert_eq!((element.number(bits), &element.label(bits)[..]), (number, label), "{dtype}");
        assert_eq!(element.problem(dtype), None);
    }
}

/// What `to_csv` of pandas writes.
#[test]
fn dates_are_spelled_and_counted_in_seconds() {
    for (dtype, ticks, label, seconds) in [
        ("<M8[D]", 19_783, "2024-03-01", 1_709_251_200.0),
        ("<M8[h]", -1, "1969-12-31 23:00:00", -3_600.0),
        (">M8[m]", 1, "1970-01-01 00:01:00", 60.0),
        ("<M8[s]", 86_399, "1970-01-01 23:59:59", 86_399.0),
        ("<M8[ms]", -1, "1969-12-31 23:59:59.999", -1.0),
        (">M8[us]", 1_500_000, "1970-01-01 00:00:01.500", 1.0),
        ("<M8[ns]", 1_709_296_245_000_000_001, "2024-03-01 12:30:45.000000001", 1_709_296_245.0),
    ] {
        let element = Element::parse(dtype).unwrap();
        assert_eq!((element.problem(dtype), element.is_date()), (None, true), "{dtype}");
        assert_eq!(element.has_time(), !dtype.contains('D'));
        let bits = element.bits(&match dtype.starts_with('>') {
            true => i64::to_be_bytes(ticks),
            false => i64::to_le_bytes(ticks),
        });
        assert_eq!((&element.label(bits)[..], element.number(bits)), (label, seconds));
        assert!(!element.is_no_date(bits));
        let missing = element.bits(&match dtype.starts_with('>') {
            true => i64::MIN.to_be_bytes(),
            false => i64::MIN.to_le_bytes(),
        });
        assert!(element.is_no_date(missing) && element.number(missing).is_nan());
    }
}

#[test]
fn halves_are_exact() {
    for (bits, wanted) in [
        (0x0000, 0.0),
        (0x0001, 5.960_464_477_539_063e-8),
        (0x03ff, 6.097_555_160_522_461e-5),
        (0x0400, 6.103_515_625e-5),
        (0x3555, 0.333_251_953_125),
        (0x3c00, 1.0),
        (0x7bff, 65_504.0),
        (0xfbff, -65_504.0),
        (0x7c00, f64::INFINITY),
        (0xfc00, f64::NEG_INFINITY),
    ] {
        assert_eq!(cell::half(bits), wanted, "{bits:04x}");
    }
    assert!(cell::half(0x7e00).is_nan());
    assert!(cell::half(0x8000).is_sign_negative());
}

#[test]
fn texts_end_with_their_last_character() {
    let element = Element::parse("<U3").unwrap();
    assert_eq!(element.size, 12);
    let bytes = [[0xe9, 0, 0, 0], [0x20, 0, 0, 0], [0; 4]].concat();
    assert_eq!(element.text(&bytes).unwrap(), "é".as_bytes());
    let big = Element::parse(">U1").unwrap();
    assert_eq!(big.text(&[0, 0, 0, 0x41]).unwrap(), &b"A"[..]);
    assert!(element.text(&[0, 0xd8, 0, 0]).unwrap_err().contains("0xd800"));
    let element = Element::parse("|S4").unwrap();
    assert_eq!(element.text(b" ab\0").unwrap(), &b"ab"[..]);
    assert_eq!(element.text(b"\0\0\0\0").unwrap(), &b""[..]);
}

#[test]
fn other_types_are_refused_or_have_no_value() {
    for (dtype, wanted) in [
        ("|O", "objects of Python, which are pickled and never read here"),
        ("O8", "objects of Python"),
        ("<f3", "found dtype \"<f3\", wanted floats"),
        ("float64", "found dtype \"float64\", wanted floats"),
        ("", "found dtype \"\", wanted"),
        ("<i", "found dtype \"<i\", wanted"),
        ("<U4294967296", "wanted elements of less than 4 GiB"),
        ("<U99999999999999999999", "wanted"),
        ("<i-8", "wanted"),
    ] {
        // An f of any size has one that is known.
        if let Ok(element) = Element::parse(dtype) {
            assert!(element.problem(dtype).unwrap().contains(wanted), "{dtype}");
            continue;
        }
        let error = Element::parse(dtype).unwrap_err();
        assert!(error.contains(wanted), "{dtype}: {error}");
    }
    for (dtype, size, wanted) in [
        ("<c16", 16, "real and their imaginary parts"),
        ("<M8[M]", 8, "save them as `array.astype(\"M8[s]\")`"),
        ("<M8[25s]", 8, "save them as `array.astype(\"M8[s]\")`"),
        ("<m8[ns]", 8, "save them as numbers"),
        ("<f16", 16, "astype(\"f8\")"),
        ("|V3", 3, "another dtype"),
    ] {
        let element = Element::parse(dtype).unwrap();
        assert_eq!(element.size, size);
        assert!(element.problem(dtype).unwrap().contains(wanted), "{dtype}");
    }
}

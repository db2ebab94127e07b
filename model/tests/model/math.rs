//! Accuracy of `lockstep_model::math` over all of `f32`, against `f64` references, and its frozen bits.
//!
//! `LOCKSTEP_MATH_STRIDE=1` (in release) sweeps every `f32`; the default steps over them.

use lockstep_model::math;

/// A prime, so that a sweep meets every exponent with ever different low bits.
const STRIDE: u64 = 40_009;

fn sweep(stride: u64) -> impl Iterator<Item = f32> {
    (0..1u64 << 32).step_by(stride as usize).map(|bits| f32::from_bits(bits as u32)).chain(edges())
}

/// Values where something changes: ends of ranges, switches between formulas.
fn edges() -> impl Iterator<Item = f32> {
    let around = [
        0.0,
        1.0,
        0.5,
        0.625,
        0.34,
        0.346_573_6,
        2.0,
        9.0,
        10.0,
        11.0,
        14.0,
        16.0,
        17.0,
        88.722_84,
        89.0,
        87.336_55,
        103.972_08,
        104.0,
        128.0,
        f32::MIN_POSITIVE,
        f32::MAX,
        f32::INFINITY,
        2.0 / 3.0,
        4.0 / 3.0,
    ];
    around.into_iter().flat_map(|value: f32| {
        (-40..=40i32)
            .map(move |offset| f32::from_bits(value.to_bits().wrapping_add_signed(offset)))
            .flat_map(|value| [value, -value])
    })
}

fn stride() -> u64 {
    std::env::var("LOCKSTEP_MATH_STRIDE").map_or(STRIDE, |text| text.parse().unwrap())
}

/// Distance in units of the last place that an `f32` of the size of `want` has.
fn ulps(got: f32, want: f64) -> f64 {
    if f64::from(got) == want || (got.is_nan() && want.is_nan()) {
        return 0.0;
    }
    if got.is_infinite() || got.is_nan() || want.is_nan() {
        // Overflow is right where the exact value rounds to infinity.
        let limit = f64::from(f32::MAX) + 1.014_120_480_182_583_5e31;
        let right = got.is_infinite() && want.abs() >= limit && (want > 0.0) == (got > 0.0);
        return if right { 0.0 } else { f64::INFINITY };
    }
    let exponent = (((want.abs().to_bits() >> 52) as i32) - 1023).clamp(-126, 127);
    (f64::from(got) - want).abs() / 2f64.powi(exponent - 23)
}

/// The largest error of `f` over the sweep, where `domain` holds.
fn worst(f: fn(f32) -> f32, reference: fn(f64) -> f64, domain: fn(f32) -> bool) -> (f64, f32) {
    let mut worst = (0.0, 0.0);
    for x in sweep(stride()).filter(|&x| domain(x)) {
        let error = ulps(f(x), reference(f64::from(x)));
        if error > worst.0 {
            worst = (error, x);
        }
    }
    worst
}

fn everywhere(_: f32) -> bool {
    true
}

#[test]
fn exp_ln_tanh_within_2_ulp() {
    check("exp", math::exp, f64::exp, everywhere, 2.0);
    check("ln", math::ln, f64::ln, everywhere, 2.0);
    check("tanh", math::tanh, f64::tanh, everywhere, 2.0);
}

#[test]
fn erf_within_2_ulp() {
    check("erf", math::erf, erf, everywhere, 2.0);
}

/// No function here may cancel: errors stay small in relative terms, down to the smallest normal number.
#[test]
fn made_of_them_stay_relatively_accurate() {
    check("erfc", math::erfc, erfc, |x| x < 9.19, 6.0);
    check("exp_minus_1", math::exp_minus_1_negative, f64::exp_m1, |x| x <= 0.0, 2.0);
    check("ln_1_plus", math::ln_1_plus, f64::ln_1p, |x| (0.0..=1.0).contains(&x), 3.0);
    check("sigmoid", math::sigmoid, |x| 1.0 / (1.0 + (-x).exp()), everywhere, 4.0);
    check("softplus", math::softplus, softplus, everywhere, 4.0);
    check("silu", math::silu, |x| x / (1.0 + (-x).exp()), |x| x > -87.0, 4.0);
    check("gelu", math::gelu, |x| x * 0.5 * erfc(-x / 2f64.sqrt()), |x| x > -12.9, 6.0);
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

#[test]
fn slopes_are_slopes() {
    let scale = |x: f64| (2.0 / std::f64::consts::PI).sqrt() * 0.5 * (-0.5 * x * x).exp();
    for x in sweep(stride() * 4).filter(|x| x.is_finite()) {
        let wide = f64::from(x);
        let gelu = 0.5 * erfc(-wide / 2f64.sqrt()) + wide * scale(wide);
        assert!((f64::from(math::gelu_slope(x)) - gelu).abs() < 3e-7, "gelu at {x:e}");
        let s = 1.0 / (1.0 + (-wide).exp());
        let silu = s * (1.0 + wide * (1.0 - s));
        let silu = if x > 700.0 {
            1.0
        } else if x < -700.0 {
            0.0
        } else {
            silu
        };
        assert!((f64::from(math::silu_slope(x)) - silu).abs() < 3e-7, "silu at {x:e}");
    }
}

/// A function, an argument, and the result.
type Case = (fn(f32) -> f32, f32, f32);

#[test]
fn special_values() {
    let inf = f32::INFINITY;
    let rows: &[Case] = &[
        (math::exp, inf, inf),
        (math::exp, -inf, 0.0),
        (math::exp, 0.0, 1.0),
        (math::exp, -0.0, 1.0),
        (math::ln, 0.0, -inf),
        (math::ln, -0.0, -inf),
        (math::ln, inf, inf),
        (math::ln, 1.0, 0.0),
        (math::tanh, inf, 1.0),
        (math::tanh, -inf, -1.0),
        (math::tanh, 0.0, 0.0),
        (math::tanh, -0.0, -0.0),
        (math::erf, inf, 1.0),
        (math::erf, -inf, -1.0),
        (math::erf, 0.0, 0.0),
        (math::erf, -0.0, -0.0),
        (math::erfc, inf, 0.0),
        (math::erfc, -inf, 2.0),
        (math::erfc, 0.0, 1.0),
        (math::sigmoid, inf, 1.0),
        (math::sigmoid, -inf, 0.0),
        (math::sigmoid, 0.0, 0.5),
        (math::softplus, inf, inf),
        (math::softplus, -inf, 0.0),
        (math::gelu, inf, inf),
        (math::gelu, -inf, -0.0),
        (math::gelu_slope, inf, 1.0),
        (math::gelu_slope, -inf, -0.0),
        (math::silu, inf, inf),
        (math::silu, -inf, -0.0),
        (math::silu_slope, inf, 1.0),
        (math::silu_slope, -inf, -0.0),
    ];
    for (i, &(f, x, want)) in rows.iter().enumerate() {
        assert_eq!(f(x).to_bits(), want.to_bits(), "row {i}: f({x}) = {}, not {want}", f(x));
    }
    assert!(math::ln(-1.0).is_nan() && math::ln(-inf).is_nan());
    for (name, f, _) in FUNCTIONS {
        assert!(f(f32::NAN).is_nan(), "{name}(NaN)");
    }
}

/// The bits that every machine must make, from the scalar functions and from the vectorised loop alike.
#[test]
fn bits_are_frozen() {
    let inputs: Vec<f32> = sweep(STRIDE * 3).collect();
    let mut changed = Vec::new();
    for &(name, f, frozen) in FUNCTIONS {
        let mut mapped = inputs.clone();
        math::map(&mut mapped, f);
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        for (&x, &y) in inputs.iter().zip(&mapped) {
            let scalar = canonical(f(x));
            assert_eq!(canonical(y), scalar, "{name}({x:e}): vectorised and alone");
            hash = (hash ^ u64::from(scalar)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        if hash != frozen {
            changed.push(format!("{name}: {hash:#018x}"));
        }
    }
    assert!(changed.is_empty(), "bits changed: {changed:#?}");
}

/// Which NaN it is, nobody promises.
fn canonical(value: f32) -> u32 {
    if value.is_nan() { f32::NAN.to_bits() } else { value.to_bits() }
}

type Function = (&'static str, fn(f32) -> f32, u64);

const FUNCTIONS: &[Function] = &[
    ("exp", math::exp, 0xd99f_84bf_6471_7904),
    ("ln", math::ln, 0x6de5_3d4b_ee8e_5d3d),
    ("tanh", math::tanh, 0xc2e6_406c_6da0_5503),
    ("erf", math::erf, 0x3c58_5fe5_9af4_57cb),
    ("erfc", math::erfc, 0xbf1a_3c54_f540_eff3),
    ("sigmoid", math::sigmoid, 0xd72f_3dc5_266c_dd16),
    ("softplus", math::softplus, 0x0111_528a_74da_81e5),
    ("gelu", math::gelu, 0x129d_87d9_e45e_7b3e),
    ("gelu_slope", math::gelu_slope, 0x7783_3b7a_4eac_e80b),
    ("silu", math::silu, 0x97cd_1c07_f9d3_7639),
    ("silu_slope", math::silu_slope, 0x34fb_fa20_f27d_6d11),
];

fn check(
    name: &str,
    f: fn(f32) -> f32,
    reference: fn(f64) -> f64,
    domain: fn(f32) -> bool,
    bound: f64,
) {
    let (error, at) = worst(f, reference, domain);
    println!("{name}: {error:.3} ulp at {at:e}");
    assert!(error <= bound, "{name}: {error:.3} ulp at {at:e}, allowed are {bound}");
}

/// The error function in `f64`: a series without cancellation near 0, else 1 minus the tail.
fn erf(x: f64) -> f64 {
    let size = x.abs();
    if size.is_nan() {
        return x;
    }
    let value = if size < 2.5 { erf_series(size) } else { 1.0 - erfc_fraction(size) };
    value.copysign(x)
}

fn erfc(x: f64) -> f64 {
    if x.is_nan() {
        x
    } else if x.abs() < 2.0 {
        // Up to 2 the series loses less than 3 of its 15 digits here.
        1.0 - erf_series(x.abs()).copysign(x)
    } else if x < 0.0 {
        2.0 - erfc_fraction(-x)
    } else {
        erfc_fraction(x)
    }
}

/// `2 / sqrt(pi) exp(-x^2) sum of 2^n x^(2n+1) / (2n+1)!!`.
fn erf_series(x: f64) -> f64 {
    let (mut term, mut sum, mut n) = (x, x, 1.0);
    while term > sum * 1e-17 {
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
        n += 1.0;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

/// Laplace's continued fraction, evaluated from far out.
fn erfc_fraction(x: f64) -> f64 {
    if x > 30.0 {
        return 0.0;
    }
    let mut tail = x;
    for n in (1..60).rev() {
        tail = x + f64::from(n) * 0.5 / tail;
    }
    (-x * x).exp() / (tail * std::f64::consts::PI.sqrt())
}

//! Optimizers against values of other implementations, and what they keep.

use super::*;

/// Two updates of one weight from 1.0 with learning rate 0.1 and gradients 0.5 and -0.25, worked out in `f64` from the formulas.
fn check(optimizer: Optimizer, expected: [f64; 2]) {
    let mut weights = [1.0f32];
    let mut moments = optimizer.moments(1);
    moments.resize(2, Vec::new());
    for (step, (gradient, expected)) in [0.5, -0.25].into_iter().zip(expected).enumerate() {
        let [first, second] = &mut moments[..] else { panic!("two at most") };
        let gradient = [&[gradient][..], &[gradient * gradient]];
        optimizer.update(step as u64 + 1, 0.1, gradient, &mut weights, [first, second]);
        let found = f64::from(weights[0]);
        assert!((found - expected).abs() < 2e-7, "{optimizer:?}: {found}, wanted {expected}");
    }
}

#[test]
fn sgd() {
    let sgd = |momentum, nesterov| Optimizer::Sgd { momentum, nesterov };
    check(sgd(0.0, false), [0.95, 0.975]);
    check(sgd(0.9, false), [0.95, 0.93]);
    check(sgd(0.9, true), [0.905, 0.912]);
}

#[test]
fn adam_and_adamw() {
    let adam =
        |weight_decay| Optimizer::Adam { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-7, weight_decay };
    // m = 0.05, v = 0.00025: the first step is the sign of the gradient, but for epsilon.
    let (m, v) = (0.9 * 0.05 - 0.1 * 0.25, 0.999 * 0.00025 + 0.001 * 0.0625);
    let alpha = 0.1 * (1.0f64 - 0.999 * 0.999).sqrt() / (1.0 - 0.81);
    let update = m * alpha / (f64::sqrt(v) + 1e-7);
    let root = 0.00025f64.sqrt();
    let sign = 0.1 * root / (root + 1e-7);
    check(adam(None), [1.0 - sign, 1.0 - sign - update]);
    let decayed = 1.0 - 0.01 - sign;
    check(adam(Some(0.1)), [decayed, decayed * 0.99 - update]);
}

#[test]
fn rmsprop() {
    let rmsprop = |momentum| Optimizer::RmsProp { rho: 0.9, momentum, epsilon: 1e-7 };
    let first = 0.1 * 0.5 / (0.025f64 + 1e-7).sqrt();
    let second = 0.1 * -0.25 / (0.9 * 0.025 + 0.1 * 0.0625 + 1e-7f64).sqrt();
    check(rmsprop(0.0), [1.0 - first, 1.0 - first - second]);
    check(rmsprop(0.5), [1.0 - first, 1.0 - first - (0.5 * first + second)]);
}

#[test]
fn adagrad() {
    let adagrad = Optimizer::Adagrad { initial_accumulator: 0.1, epsilon: 1e-7 };
    let first = 0.1 * 0.5 / (0.35f64 + 1e-7).sqrt();
    let second = 0.1 * -0.25 / (0.4125f64 + 1e-7).sqrt();
    check(adagrad, [1.0 - first, 1.0 - first - second]);
}

#[test]
fn powers() {
    assert!((power(0.9, 10) - f64::from(0.9f32).powi(10)).abs() < 1e-15);
    assert_eq!(power(0.5, 0), 1.0);
}

#[test]
fn moments_of_a_weight_without_a_gradient_end_at_zero() {
    let adam = Optimizer::Adam { beta_1: 0.9, beta_2: 0.9, epsilon: 1e-7, weight_decay: None };
    let sgd = Optimizer::Sgd { momentum: 0.9, nesterov: true };
    let rms = Optimizer::RmsProp { rho: 0.9, momentum: 0.9, epsilon: 1e-7 };
    for optimizer in [adam, sgd, rms] {
        let mut moments = optimizer.moments(1);
        moments.resize(2, vec![0.0]);
        for step in 1..=1500 {
            let [first, second] = &mut moments[..] else { panic!("two at most") };
            let gradient: f32 = if step == 1 { -1.0 } else { 0.0 };
            let gradient = [&[gradient][..], &[gradient * gradient]];
            optimizer.update(step, 0.1, gradient, &mut [1.0], [first, second]);
            let moments = first.iter().chain(&*second);
            let mut found = moments.filter(|moment| moment.is_subnormal());
            assert_eq!(found.next(), None, "{optimizer:?}, step {step}");
        }
        assert_eq!(moments, [[0.0], [0.0]], "{optimizer:?}");
    }
}

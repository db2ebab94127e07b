//! What a browser is given: all of it is in this program.

/// The page.
pub const PAGE: &str = include_str!("assets/index.html");
/// What pages are made of.
pub const PARTS: &str = include_str!("assets/parts.js");
/// What shows how well a model does.
pub const EVALUATION: &str = include_str!("assets/evaluation.js");
/// What shows a status on it.
pub const APP: &str = include_str!("assets/app.js");
/// Runs side by side: a page and what fills it, of a report alone.
pub const COMPARISON_PAGE: &str = include_str!("assets/comparison.html");
/// See there.
pub const COMPARISON: &str = include_str!("assets/comparison.js");
/// How pages look.
pub const STYLE: &str = include_str!("assets/style.css");
/// Plots: uPlot, which is not ours (see `vendor/uPlot.LICENSE`).
pub const UPLOT: &str = include_str!("assets/vendor/uPlot.iife.min.js");
/// How plots look.
pub const UPLOT_STYLE: &str = include_str!("assets/vendor/uPlot.min.css");

pub(super) const ICON: &str = include_str!("assets/icon.svg");

/// A path, its type and its content.
pub(super) const FILES: [(&str, &str, &str); 8] = [
    ("/", "text/html; charset=utf-8", PAGE),
    ("/parts.js", "text/javascript; charset=utf-8", PARTS),
    ("/evaluation.js", "text/javascript; charset=utf-8", EVALUATION),
    ("/app.js", "text/javascript; charset=utf-8", APP),
    ("/style.css", "text/css; charset=utf-8", STYLE),
    ("/uplot.js", "text/javascript; charset=utf-8", UPLOT),
    ("/uplot.css", "text/css; charset=utf-8", UPLOT_STYLE),
    ("/icon.svg", "image/svg+xml", ICON),
];

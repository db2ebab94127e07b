//! Curves as one picture, in SVG or PNG, the same on every machine: its letters are in this program (DejaVu Sans, see
//! `picture/letters.LICENSE`). Knows no run and no file.

mod png;

use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

const LETTERS: &[u8] = include_bytes!("picture/letters.ttf");

/// The one font, under the name that is asked for.
const FONT: &str = "sans-serif";

/// In pixels.
const WIDTH: u32 = 1000;
const HEIGHT: u32 = 600;

/// Lines by place, which can be told apart without colors: pixels drawn and left out, the first without any, and colors that are
/// dark enough on white.
const DASHES: [(u32, u32); 8] =
    [(1, 0), (12, 6), (3, 5), (24, 6), (6, 2), (2, 9), (16, 14), (40, 8)];
const COLORS: [RGBColor; 5] = [
    RGBColor(29, 95, 180),
    RGBColor(168, 67, 0),
    RGBColor(31, 107, 45),
    RGBColor(179, 32, 26),
    RGBColor(125, 82, 0),
];

/// Longest name in the legend.
const NAME_CHARS_MAX: usize = 60;

/// A line of a picture.
pub(crate) struct Curve {
    /// Its name.
    pub(crate) name: String,
    /// Its points, which are finite.
    pub(crate) points: Vec<(f64, f64)>,
}

/// What is drawn.
pub(crate) struct Picture {
    /// Above it.
    pub(crate) title: String,
    /// Of the axes.
    pub(crate) x: String,
    /// See there.
    pub(crate) y: String,
    /// At least one with at least one point; those beyond the eighth look like the first.
    pub(crate) curves: Vec<Curve>,
}

impl Picture {
    /// As SVG.
    ///
    /// # Errors
    /// What could not be drawn.
    pub(crate) fn svg(&self) -> Result<Vec<u8>, String> {
        let mut text = String::new();
        self.draw(&SVGBackend::with_string(&mut text, (WIDTH, HEIGHT)).into_drawing_area())?;
        Ok(text.into_bytes())
    }

    /// As PNG.
    ///
    /// # Errors
    /// What could not be drawn.
    pub(crate) fn png(&self) -> Result<Vec<u8>, String> {
        let mut pixels = vec![0; (WIDTH * HEIGHT * 3) as usize];
        let backend = BitMapBackend::with_buffer(&mut pixels, (WIDTH, HEIGHT));
        self.draw(&backend.into_drawing_area())?;
        png::file(&pixels, WIDTH, HEIGHT).map_err(|error| error.to_string())
    }

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), String> {
        register_font(FONT, FontStyle::Normal, LETTERS)
            .map_err(|_| "the letters of this program cannot be read".to_string())?;
        self.drawn(area).map_err(|error| error.to_string())
    }

    fn drawn<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        area.fill(&WHITE)?;
        let points = || self.curves.iter().flat_map(|curve| &curve.points);
        let (x, y) = (range(points().map(|point| point.0)), range(points().map(|point| point.1)));
        let mut chart = ChartBuilder::on(area)
            .caption(shown(&self.title), (FONT, 24))
            .margin(16)
            .x_label_area_size(48)
            .y_label_area_size(84)
            .build_cartesian_2d(x.0..x.1, y.0..y.1)?;
        chart
            .configure_mesh()
            .x_desc(shown(&self.x))
            .y_desc(shown(&self.y))
            .label_style((FONT, 15))
            .axis_desc_style((FONT, 17))
            .light_line_style(TRANSPARENT)
            .x_label_formatter(&|value| tick(*value, x))
            .y_label_formatter(&|value| tick(*value, y))
            .draw()?;
        for (place, curve) in self.curves.iter().enumerate() {
            let (drawn, left_out) = DASHES[place % DASHES.len()];
            let style = COLORS[place % COLORS.len()].stroke_width(2);
            let points = curve.points.iter().copied();
            let series = match (curve.points.len(), left_out) {
                // A point has no line.
                (1, _) => chart.draw_series(points.map(|point| Circle::new(point, 3, style)))?,
                (_, 0) => chart.draw_series(LineSeries::new(points, style))?,
                _ => chart.draw_series(DashedLineSeries::new(points, drawn, left_out, style))?,
            };
            series.label(shown(&curve.name)).legend(move |(x, y)| {
                DashedPathElement::new([(x, y), (x + 48, y)], drawn, left_out, style)
            });
        }
        chart
            .configure_series_labels()
            .label_font((FONT, 15))
            .legend_area_size(56)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.4))
            .position(SeriesLabelPosition::UpperRight)
            .draw()?;
        area.present()
    }
}

/// From the least to the largest, with some room around them. What never changes, but for rounding, is in the middle.
fn range(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let least = values.clone().fold(f64::INFINITY, f64::min);
    let most = values.fold(f64::NEG_INFINITY, f64::max);
    if !(least.is_finite() && most.is_finite()) {
        return (0.0, 1.0);
    }
    let size = least.abs().max(most.abs());
    let room = match most - least {
        width if width > 1e-6 * size => 0.03 * width,
        _ if size == 0.0 => 1.0,
        _ => 0.5 * size,
    };
    (least - room, most + room)
}

/// A figure of an axis from here to there, with as many digits as tell it from the next.
fn tick(value: f64, (least, most): (f64, f64)) -> String {
    let (width, size) = (most - least, least.abs().max(most.abs()));
    let digits = |of: f64| (2.0 - of.log10().floor()).clamp(1.0, 15.0) as usize;
    if value.abs() < 1e-9 * width {
        return "0".to_string();
    }
    if !(1e-3..1e6).contains(&size) {
        return format!("{value:.*e}", digits(width / size) - 1);
    }
    let text = format!("{value:.*}", digits(width));
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// A text of one line, not too long.
fn shown(text: &str) -> String {
    let plain = text.chars().map(|char| if char.is_control() { ' ' } else { char });
    match text.chars().count() {
        0..=NAME_CHARS_MAX => plain.collect(),
        _ => plain.take(NAME_CHARS_MAX - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(names: &[&str], points: &[(f64, f64)]) -> Picture {
        let curve = |name: &&str| Curve { name: name.to_string(), points: points.to_vec() };
        let [title, x, y] = ["loss", "epoch", "loss"].map(str::to_string);
        Picture { title, x, y, curves: names.iter().map(curve).collect() }
    }

    #[test]
    fn a_picture_is_the_same_every_time_and_asks_for_nothing() {
        let picture = picture(&["one", "two"], &[(1.0, 0.5), (2.0, 0.25), (3.0, 0.125)]);
        let svg = String::from_utf8(picture.svg().unwrap()).unwrap();
        assert!(svg.contains(">\none\n<") || svg.contains("one"), "{svg}");
        assert!(!svg.contains("href") && !svg.contains("url("));
        assert_eq!(svg.as_bytes(), picture.svg().unwrap());
        let png = picture.png().unwrap();
        assert!(png.starts_with(b"\x89PNG") && png.len() > 5000);
        assert_eq!(png, picture.png().unwrap());
    }

    #[test]
    fn names_from_elsewhere_are_texts() {
        let hostile = "</text><script>alert(1)</script>&\u{1b}[31m";
        let svg = String::from_utf8(picture(&[hostile], &[(1.0, 1.0), (2.0, 2.0)]).svg().unwrap());
        let svg = svg.unwrap();
        assert!(!svg.contains("<script") && !svg.contains('\u{1b}'), "{svg}");
        assert!(svg.contains("&lt;script&gt;"), "{svg}");
    }

    #[test]
    fn odd_curves_are_drawn() {
        for points in
            [&[][..], &[(1.0, 2.0)], &[(1.0, 0.0), (2.0, 0.0)], &[(1.0, 1e300), (2.0, -1e300)]]
        {
            assert!(picture(&["x"; 9], points).svg().is_ok(), "{points:?}");
            assert!(picture(&["x"; 9], points).png().is_ok(), "{points:?}");
        }
    }

    #[test]
    fn figures_of_axes() {
        let plain = [0.0, -0.0, 0.3, 12.0, 1500.0].map(|value| tick(value, (0.0, 2000.0)));
        assert_eq!(plain, ["0", "0", "0.3", "12", "1500"]);
        let of = |values: [f64; 2], axis| values.map(|value| tick(value, axis));
        assert_eq!(of([1e-5, 2.5e-5], (0.0, 3e-5)), ["1.0e-5", "2.5e-5"]);
        assert_eq!(of([1e7, 2.5e7], (0.0, 3e7)), ["1.0e7", "2.5e7"]);
        // As many digits as there have to be.
        assert_eq!(of([0.41311, 0.41312], (0.4131, 0.4132)), ["0.41311", "0.41312"]);
        assert_eq!(of([1.05e-5, 1.1e-5], (1e-5, 1.2e-5)), ["1.05e-5", "1.10e-5"]);
    }

    #[test]
    fn a_curve_that_never_changes_is_in_the_middle() {
        let of = |values: &[f64]| range(values.iter().copied());
        assert_eq!(of(&[0.001; 3]), (0.0005, 0.0015));
        assert_eq!(of(&[-4.0]), (-6.0, -2.0));
        assert_eq!(of(&[0.0; 2]), (-1.0, 1.0));
        assert!((of(&[2.0, 2.0 + 1e-9]).0 - 1.0).abs() < 1e-6);
        assert_eq!(of(&[0.0, 100.0]), (-3.0, 103.0));
    }
}

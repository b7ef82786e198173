//! The sweep as a picture: for each axis the rate and the reader's CPU time a row, both scales logarithmic, so that a
//! steady cost is a straight line and a cliff is a bend.

use crate::plot::{escaped, line};
use crate::results::{AxisResult, Drained, Pair, PointResult, Results};

const WIDTH: f64 = 860.0;
const TOP: f64 = 100.0;
/// A panel's inner size, and from one row of panels to the next.
const PANEL: (f64, f64) = (330.0, 120.0);
const STEP: f64 = 196.0;
/// Where the panels of each column begin.
const LEFT: [f64; 2] = [70.0, 500.0];

/// One figure of every point.
struct Measure {
    title: &'static str,
    of: fn(&PointResult, fn(&Pair) -> Drained) -> f64,
}

const MEASURES: [Measure; 2] = [
    Measure { title: "rows a second", of: |point, of| point.rate(of) },
    Measure { title: "CPU of the reader, µs a row", of: |point, of| point.micros(of) },
];

const READERS: [(&str, &str, fn(&Pair) -> Drained); 2] = [
    ("ref", "pg_recvlogical -f /dev/null", |pair| pair.reference),
    ("our", "Sluicegate, loading", |pair| pair.sluicegate),
];

/// The picture.
pub(crate) fn svg(results: &Results) -> String {
    let height = TOP + results.sweep.len() as f64 * STEP;
    let mut out = head(results, height);
    for (number, axis) in results.sweep.iter().enumerate() {
        let top = TOP + number as f64 * STEP;
        let name = format!("{} ({})", axis.title, axis.fixed);
        line(&mut out, &format!(r#"<text class="name" x="{}" y="{:.1}">{}</text>"#, LEFT[0], top, escaped(&name)));
        for (measure, left) in MEASURES.iter().zip(LEFT) {
            panel(&mut out, axis, measure, left, top + 26.0);
        }
    }
    out + "</svg>\n"
}

/// Where values of a range stand between 0 and 1, by their logarithms.
#[derive(Clone, Copy)]
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    /// `None` if there is nothing to show.
    fn over(values: impl Iterator<Item = f64>) -> Option<Scale> {
        let (low, high) = values
            .filter(|value| value.is_finite() && *value > 0.0)
            .fold((f64::INFINITY, 0.0), |(low, high), value| (value.min(low), value.max(high)));
        (high > 0.0).then_some(Scale { low, high })
    }

    /// Widened to whole powers of ten.
    fn round(self) -> Scale {
        let power = |value: f64| 10_f64.powf(value);
        let (low, high) = (power(self.low.log10().floor()), power(self.high.log10().ceil()));
        Scale { low, high: if high > low { high } else { low * 10.0 } }
    }

    fn place(self, value: f64) -> f64 {
        let span = (self.high / self.low).ln();
        if span > 0.0 { (value.max(self.low) / self.low).ln() / span } else { 0.5 }
    }

    /// The powers of ten within.
    fn decades(self) -> impl Iterator<Item = f64> {
        let count = (self.high / self.low).log10().round() as i32;
        (0..=count).map(move |power| self.low * 10_f64.powi(power))
    }
}

fn panel(out: &mut String, axis: &AxisResult, measure: &Measure, left: f64, top: f64) {
    let figures = READERS.iter().flat_map(|(_, _, of)| axis.points.iter().map(|point| (measure.of)(point, *of)));
    let (Some(across), Some(up)) =
        (Scale::over(axis.points.iter().map(|point| point.value as f64)), Scale::over(figures))
    else {
        return;
    };
    let up = up.round();
    let (width, height) = PANEL;
    let x = |value: u64| left + across.place(value as f64) * width;
    let y = |value: f64| top + (1.0 - up.place(value)) * height;
    line(out, &format!(r#"<text class="more" x="{left}" y="{:.1}">{}</text>"#, top - 8.0, measure.title));
    for decade in up.decades() {
        let at = y(decade);
        line(out, &format!(r#"<path class="grid" d="M{left} {at:.1}h{width}"/>"#));
        line(out, &format!(r#"<text class="tick" x="{:.1}" y="{:.1}">{}</text>"#, left - 6.0, at + 4.0, short(decade)));
    }
    for point in &axis.points {
        let (at, bottom) = (x(point.value), top + height + 16.0);
        line(out, &format!(r#"<text class="axis" x="{at:.1}" y="{bottom:.1}">{}</text>"#, short(point.value as f64)));
    }
    for (class, _, of) in READERS {
        let places: Vec<(f64, f64)> =
            axis.points.iter().map(|point| (x(point.value), y((measure.of)(point, of)))).collect();
        let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        line(out, &format!(r#"<path class="{class}" d="M{}"/>"#, path.join("L")));
        for (x, y) in places {
            line(out, &format!(r#"<circle class="{class}-dot" cx="{x:.1}" cy="{y:.1}" r="3"/>"#));
        }
    }
}

/// `20000` as `20k`.
fn short(value: f64) -> String {
    let (number, unit) = match value {
        value if value >= 1e6 => (value / 1e6, "M"),
        value if value >= 1e3 => (value / 1e3, "k"),
        value => (value, ""),
    };
    // Floating-point powers of ten are not quite round.
    format!("{}{unit}", (number * 1000.0).round() / 1000.0)
}

/// As those of the drain rates.
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#7d8590}.title{font-size:17px;font-weight:600}\
    .name{font-weight:600}.more,.axis,.tick{font-size:11.5px}.axis{text-anchor:middle}.tick{text-anchor:end}\
    .grid{stroke:#7d8590;stroke-opacity:.25}.our{fill:none;stroke:#2f8fd6;stroke-width:2}\
    .ref{fill:none;stroke:#8b929b;stroke-width:2}.our-dot{fill:#2f8fd6}.ref-dot{fill:#8b929b}";

fn head(results: &Results, height: f64) -> String {
    let mut out = String::new();
    let label = "Rate and CPU time of Sluicegate and pg_recvlogical as the work grows";
    line(
        &mut out,
        &format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" aria-label="{label}">"#
        ),
    );
    line(&mut out, &format!("<style>{STYLE}</style>"));
    line(&mut out, r#"<text class="title" x="20" y="30">Draining a backlog as the work grows</text>"#);
    line(&mut out, &format!(r#"<text class="more" x="20" y="50">{}</text>"#, escaped(&results.machine.to_string())));
    for ((class, name, _), x) in READERS.iter().rev().zip([20, 190]) {
        line(&mut out, &format!(r#"<rect class="{class}-dot" x="{x}" y="62" width="12" height="12" rx="2"/>"#));
        line(&mut out, &format!(r#"<text class="more" x="{}" y="72.5">{name}</text>"#, x + 18));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_hold_their_values_and_powers_of_ten() {
        let scale = Scale::over([3.0, 40.0, f64::NAN, 0.0].into_iter()).unwrap().round();
        assert_eq!(scale.decades().map(short).collect::<Vec<_>>(), ["1", "10", "100"]);
        for (value, want) in [(1.0, 0.0), (10.0, 0.5), (100.0, 1.0)] {
            assert!((scale.place(value) - want).abs() < 1e-9, "{value}");
        }
        assert!(Scale::over([f64::NAN].into_iter()).is_none());
        let one = Scale::over([7.0].into_iter()).unwrap();
        assert!((one.place(7.0) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn figures_are_short() {
        let cases =
            [(0.1, "0.1"), (1.0, "1"), (999.0, "999"), (20_000.0, "20k"), (1e6, "1M"), (10_f64.powi(-2), "0.01")];
        for (value, want) in cases {
            assert_eq!(short(value), want);
        }
    }
}

//! The drain rates as a picture that reads well on light and on dark ground.

use std::fmt::Write as _;

use crate::results::{Drained, Pair, Results, Spread, WorkloadResult};

const WIDTH: f64 = 860.0;
/// Where the bars begin; left of it stand the names.
const LEFT: f64 = 230.0;
/// Room behind the longest bar for its figure.
const RIGHT: f64 = 120.0;
const TOP: f64 = 96.0;
const BAR: f64 = 16.0;
/// From one bar to the next, and from one workload to the next besides.
const STEP: f64 = 19.0;
const GAP: f64 = 22.0;

/// One bar.
struct Bar {
    class: &'static str,
    label: &'static str,
    thousand_rows: f64,
    /// What stands behind the figure.
    note: String,
}

/// The picture.
pub(crate) fn svg(results: &Results) -> String {
    let groups: Vec<(&WorkloadResult, Vec<Bar>)> =
        results.drain.iter().map(|workload| (workload, bars(workload))).filter(|(_, bars)| !bars.is_empty()).collect();
    let longest = groups.iter().flat_map(|(_, bars)| bars).map(|bar| bar.thousand_rows).fold(1.0, f64::max);
    let tick = round_step(longest / 5.0);
    let scale = (WIDTH - LEFT - RIGHT) / longest;
    let height = TOP + groups.iter().map(|(_, bars)| bars.len() as f64 * STEP + GAP).sum::<f64>() + 34.0;
    let mut out = head(results, height);
    let bottom = height - 40.0;
    let mut at = 0.0;
    while at <= longest {
        let x = LEFT + at * scale;
        line(&mut out, &format!(r#"<path class="grid" d="M{x:.1} {:.1}V{bottom:.1}"/>"#, TOP - 8.0));
        line(&mut out, &format!(r#"<text class="axis" x="{x:.1}" y="{:.1}">{at:.0}</text>"#, bottom + 17.0));
        at += tick;
    }
    let mut y = TOP;
    for (workload, bars) in &groups {
        group(&mut out, workload, bars, y, scale);
        y += bars.len() as f64 * STEP + GAP;
    }
    out + "</svg>\n"
}

fn bars(workload: &WorkloadResult) -> Vec<Bar> {
    let mut bars = Vec::new();
    for (over, pairs) in [("TCP", &workload.tcp), ("unix socket", &workload.unix)] {
        let rate = |of: fn(&Pair) -> Drained| {
            let seconds = Spread::of(pairs.iter().map(|pair| of(pair).seconds))?.median;
            Some(workload.rows as f64 / seconds / 1e3)
        };
        let ratio = Spread::of(pairs.iter().map(Pair::ratio));
        let tcp = over == "TCP";
        let (reference, ours) = if tcp { ("rt", "st") } else { ("ru", "su") };
        bars.extend(rate(|pair| pair.sluicegate).map(|rate| Bar {
            class: ours,
            label: over,
            thousand_rows: rate,
            note: ratio.map_or_else(String::new, |ratio| format!("× {:.2}", ratio.median)),
        }));
        bars.extend(rate(|pair| pair.reference).map(|rate| Bar {
            class: reference,
            label: "",
            thousand_rows: rate,
            note: String::new(),
        }));
    }
    bars
}

fn group(out: &mut String, workload: &WorkloadResult, bars: &[Bar], top: f64, scale: f64) {
    let middle = top + bars.len() as f64 * STEP / 2.0;
    let (first, second) = workload.title.split_once(", ").unwrap_or((&workload.title, ""));
    line(out, &format!(r#"<text class="name" x="20" y="{:.1}">{}</text>"#, middle - 6.0, escaped(first)));
    line(out, &format!(r#"<text class="more" x="20" y="{:.1}">{}</text>"#, middle + 11.0, escaped(second)));
    for (number, bar) in bars.iter().enumerate() {
        let y = top + number as f64 * STEP;
        let width = bar.thousand_rows * scale;
        let Bar { class, label, thousand_rows, note } = bar;
        let text = y + 12.5;
        line(
            out,
            &format!(r#"<rect class="{class}" x="{LEFT}" y="{y:.1}" width="{width:.1}" height="{BAR}" rx="2"/>"#),
        );
        line(out, &format!(r#"<text class="over" x="{:.1}" y="{text:.1}">{label}</text>"#, LEFT - 8.0));
        let figure = format!(r#"{thousand_rows:.0}<tspan class="ratio" dx="8">{note}</tspan>"#);
        line(out, &format!(r#"<text class="figure" x="{:.1}" y="{text:.1}">{figure}</text>"#, LEFT + width + 6.0));
    }
}

/// Greys of middle lightness and colours that stand out from white and from black alike.
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#7d8590}.title{font-size:17px;font-weight:600}\
    .name{font-weight:600}.more,.axis,.over{font-size:11.5px}.axis{text-anchor:middle}.over{text-anchor:end}\
    .figure{font-size:12px}.ratio{font-weight:600;fill:#2f8fd6}.grid{stroke:#7d8590;stroke-opacity:.25}\
    .st{fill:#2f8fd6}.su{fill:#2f8fd6;fill-opacity:.6}.rt{fill:#8b929b}.ru{fill:#8b929b;fill-opacity:.6}";

fn head(results: &Results, height: f64) -> String {
    let machine = escaped(&results.machine.to_string());
    let mut out = String::new();
    line(
        &mut out,
        &format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" aria-label="Drain rates of Sluicegate and pg_recvlogical">"#
        ),
    );
    line(&mut out, &format!("<style>{STYLE}</style>"));
    line(&mut out, r#"<text class="title" x="20" y="30">Draining a backlog, thousand rows a second</text>"#);
    line(&mut out, &format!(r#"<text class="more" x="20" y="50">{machine}</text>"#));
    for (x, class, name) in [(20, "st", "Sluicegate, loading"), (190, "rt", "pg_recvlogical -f /dev/null")] {
        line(&mut out, &format!(r#"<rect class="{class}" x="{x}" y="62" width="12" height="12" rx="2"/>"#));
        line(&mut out, &format!(r#"<text class="more" x="{}" y="72.5">{name}</text>"#, x + 18));
    }
    out
}

/// Adds a line.
pub(crate) fn line(out: &mut String, text: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{text}");
}

/// The next of 1, 2 or 5 times a power of ten.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|step| step * power).find(|step| *step >= least).unwrap_or(10.0 * power)
}

/// Text as it may stand in the picture.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        for (least, want) in [(1.0, 1.0), (1.1, 2.0), (43.0, 50.0), (77.0, 100.0)] {
            assert!((round_step(least) - want).abs() < 1e-9, "{least}");
        }
    }
}

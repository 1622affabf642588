//! A report as a picture: what was requested over time, who waited, and what each node carried.

use super::play::Played;
use super::report::Report;
use super::table::span;
use super::tally::Carried;
use std::fmt::Write as _;
use std::time::Duration;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 20.0;
const PLOT: f64 = WIDTH - LEFT - RIGHT;
/// The height of the two charts above the nodes, and of what stands between.
const CHART: f64 = 120.0;
const GAP: f64 = 44.0;
const TOP: f64 = 56.0;
/// So many lanes at most; of more nodes, each lane shows the mean of several.
const LANES: usize = 40;
const LANE: f64 = 16.0;
/// So many steps across at most: more than there are dots.
const STEPS: u32 = 480;

const BLUE: &str = "#2a6fbb";
const ORANGE: &str = "#d9822b";
const GREY: &str = "#8a8f98";
const RED: &str = "#c8372d";

/// The picture, a whole SVG document.
pub(super) fn picture(report: &Report, played: &Played) -> String {
    let counts = played.tally.counts();
    let nodes: Vec<(&str, &Carried)> = counts.nodes.iter().map(|(name, carried)| (name.as_str(), carried)).collect();
    let lanes = nodes.len().clamp(1, LANES);
    let lanes_top = TOP + 2.0 * (CHART + GAP);
    #[expect(clippy::cast_precision_loss, reason = "40 at most")]
    let height = lanes_top + LANE * lanes as f64 + 36.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    let time = Time { start: played.start, seconds: report.simulated_seconds.max(0.001) };
    let title = format!(
        "{} nodes, {} pods, {}; seed {}",
        nodes.len(),
        report.pods.created,
        span(report.simulated_seconds),
        report.seed
    );
    text(&mut svg, (LEFT, 24.0), "start", "#1b1f24", &format!("What if: {title}"));
    time.axis(&mut svg, height - 14.0, (TOP, height - 30.0));
    shares(&mut svg, report, &time);
    pods(&mut svg, report, &time);
    lanes_of(&mut svg, &nodes, lanes, lanes_top, &time);
    svg.push_str("</svg>\n");
    svg
}

/// The axis along.
struct Time {
    start: Duration,
    seconds: f64,
}

impl Time {
    fn x(&self, at: f64) -> f64 {
        LEFT + PLOT * (at / self.seconds).clamp(0.0, 1.0)
    }

    fn since(&self, at: Duration) -> f64 {
        at.saturating_sub(self.start).as_secs_f64()
    }

    /// Ticks at round times, of which there are four to ten.
    fn axis(&self, svg: &mut String, y: f64, (top, bottom): (f64, f64)) {
        const ROUND: [f64; 14] = [
            1.0,
            5.0,
            10.0,
            30.0,
            60.0,
            300.0,
            600.0,
            1800.0,
            3600.0,
            10_800.0,
            21_600.0,
            86_400.0,
            604_800.0,
            2_592_000.0,
        ];
        let step = ROUND.into_iter().find(|step| self.seconds / step <= 10.0).unwrap_or(31_536_000.0);
        let mut at = 0.0;
        while at <= self.seconds {
            let x = self.x(at);
            line(svg, (x, top), (x, bottom), "#e4e6ea");
            text(svg, (x, y), "middle", GREY, &span(at));
            at += step;
        }
    }
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, colour: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{words}</text>");
}

fn line(svg: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64), colour: &str) {
    let _ = writeln!(
        svg,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\" stroke-width=\"1\"/>"
    );
}

/// A stepped line through points of x and y, from the first to the end of the plot.
fn steps(svg: &mut String, points: impl Iterator<Item = (f64, f64)>, (colour, fill): (&str, bool), base: f64) {
    let mut path = String::new();
    let mut last: Option<(f64, f64)> = None;
    let mut first = LEFT;
    for (x, y) in points {
        match last {
            None => {
                first = x;
                let _ = write!(path, "M{x:.1} {y:.1}");
            }
            // What a dot cannot show is not drawn.
            Some((_, before)) if (y - before).abs() < 0.05 => continue,
            Some(_) => {
                let _ = write!(path, "H{x:.1}V{y:.1}");
            }
        }
        last = Some((x, y));
    }
    if last.is_none() {
        return;
    }
    let end = LEFT + PLOT;
    let _ = write!(path, "H{end:.1}");
    if fill {
        let _ = writeln!(
            svg,
            "<path d=\"{path}V{base:.1}H{first:.1}Z\" fill=\"{colour}\" fill-opacity=\"0.35\" stroke=\"none\"/>"
        );
    } else {
        let _ = writeln!(svg, "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>");
    }
}

/// A legend: words in their colours, side by side.
fn legend(svg: &mut String, y: f64, words: &[(&str, &str)]) {
    let mut x = LEFT;
    for (word, colour) in words {
        text(svg, (x, y), "start", colour, word);
        #[expect(clippy::cast_precision_loss, reason = "a few words")]
        let wide = word.chars().count() as f64 * 7.0 + 16.0;
        x += wide;
    }
}

fn shares(svg: &mut String, report: &Report, time: &Time) {
    let base = TOP + CHART;
    let y = |share: f64| base - CHART * share.clamp(0.0, 1.0);
    legend(svg, TOP - 8.0, &[("cpu requested", BLUE), ("memory requested", ORANGE)]);
    for share in [0.0, 0.5, 1.0] {
        line(svg, (LEFT, y(share)), (LEFT + PLOT, y(share)), "#d5d8dd");
        text(svg, (LEFT - 8.0, y(share) + 4.0), "end", GREY, &format!("{:.0} %", share * 100.0));
    }
    let points = |of: fn(&super::report::Point) -> f64| report.timeline.iter().map(move |p| (time.x(p.at), y(of(p))));
    steps(svg, points(|p| p.cpu), (BLUE, false), base);
    steps(svg, points(|p| p.memory), (ORANGE, false), base);
}

fn pods(svg: &mut String, report: &Report, time: &Time) {
    let top = TOP + CHART + GAP;
    let base = top + CHART;
    let most = report.timeline.iter().map(|p| p.placed.max(p.waiting)).max().unwrap_or(0).max(1);
    #[expect(clippy::cast_precision_loss, reason = "a picture")]
    let y = |pods: usize| base - CHART * pods as f64 / most as f64;
    legend(svg, top - 8.0, &[("pods on nodes", BLUE), ("pods that wait", RED)]);
    line(svg, (LEFT, base), (LEFT + PLOT, base), "#d5d8dd");
    text(svg, (LEFT - 8.0, base + 4.0), "end", GREY, "0");
    text(svg, (LEFT - 8.0, top + 4.0), "end", GREY, &most.to_string());
    let placed = report.timeline.iter().map(|p| (time.x(p.at), y(p.placed)));
    steps(svg, placed, (BLUE, true), base);
    steps(svg, report.timeline.iter().map(|p| (time.x(p.at), y(p.waiting))), (RED, false), base);
}

/// A lane for each node, or for several: the share of its scarcest resource that is requested, red while it is not ready.
fn lanes_of(svg: &mut String, nodes: &[(&str, &Carried)], lanes: usize, top: f64, time: &Time) {
    legend(svg, top - 8.0, &[("of the scarcest resource of each node, requested", BLUE), ("not ready", RED)]);
    let per = nodes.len().div_ceil(lanes).max(1);
    for (number, group) in nodes.chunks(per).enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "40 at most")]
        let base = top + LANE * (number as f64 + 1.0) - 2.0;
        let name = match group {
            [(name, _)] => (*name).to_owned(),
            [(name, _), ..] => format!("{name} +{}", group.len() - 1),
            [] => continue,
        };
        let short: String =
            if name.chars().count() > 14 { name.chars().take(13).chain(['…']).collect() } else { name };
        text(svg, (LEFT - 8.0, base - 2.0), "end", GREY, &short);
        line(svg, (LEFT, base), (LEFT + PLOT, base), "#e4e6ea");
        for (_, carried) in group {
            lost(svg, carried, (base, group.len()), time);
        }
        steps(svg, lane(group, base, time), (BLUE, true), base);
    }
}

/// The mean share of a group of nodes, at equal steps of time.
fn lane<'a>(group: &'a [(&str, &'a Carried)], base: f64, time: &'a Time) -> impl Iterator<Item = (f64, f64)> + 'a {
    let mut places = vec![0_usize; group.len()];
    (0..=STEPS).map(move |step| {
        let at = time.seconds * f64::from(step) / f64::from(STEPS);
        let mut sum = 0;
        for ((_, carried), place) in group.iter().zip(&mut places) {
            while carried.shares.get(*place).is_some_and(|(changed, _)| time.since(*changed) <= at) {
                *place += 1;
            }
            sum += place.checked_sub(1).map_or(0, |last| carried.shares[last].1);
        }
        #[expect(clippy::cast_precision_loss, reason = "thousandths")]
        let mean = sum as f64 / 1000.0 / group.len().max(1) as f64;
        (time.x(at), base - (LANE - 4.0) * mean.clamp(0.0, 1.0))
    })
}

/// The times at which a node was not ready, after it was once.
fn lost(svg: &mut String, carried: &Carried, (base, of): (f64, usize), time: &Time) {
    let mut changes = carried.readiness.iter().skip_while(|(_, ready)| !ready).peekable();
    while let Some((at, ready)) = changes.next() {
        if *ready {
            continue;
        }
        let (from, to) =
            (time.x(time.since(*at)), changes.peek().map_or(LEFT + PLOT, |(at, _)| time.x(time.since(*at))));
        let (y, wide) = (base - (LANE - 4.0), (to - from).max(1.0));
        #[expect(clippy::cast_precision_loss, reason = "a picture")]
        let strength = 0.5 / of as f64;
        let _ = writeln!(
            svg,
            "<rect x=\"{from:.1}\" y=\"{y:.1}\" width=\"{wide:.1}\" height=\"{:.1}\" fill=\"{RED}\" fill-opacity=\"{strength:.3}\"/>",
            LANE - 4.0
        );
    }
}

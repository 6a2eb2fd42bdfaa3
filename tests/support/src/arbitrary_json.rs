//! Random participants for property tests, as JSON that keeps the order of members, duplicate keys and escapes.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// A JSON value that keeps the order of members, duplicate keys, and how numbers and strings are written.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    /// A number, `true`, `false` or `null`, as written.
    Bare(String),
    /// A string's content between its quotes, with escapes as written.
    Text(String),
    List(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

/// A participant, usually with `user_qos`. Zoom's keys, and those that cleaning writes, occur at any depth.
pub fn participant() -> impl Strategy<Value = Tree> {
    let sample = tree(group_tree());
    let fields = || vec((key(), tree(leaf().boxed())), 0..4);
    let with_qos = (fields(), key_spelled("user_qos"), vec(sample, 0..3), fields()).prop_map(
        |(mut entries, key, samples, more)| {
            entries.push((key, Tree::List(samples)));
            entries.extend(more);
            Tree::Object(entries)
        },
    );
    prop_oneof![4 => with_qos, 1 => tree(group_tree())]
}

fn tree(leaf: BoxedStrategy<Tree>) -> BoxedStrategy<Tree> {
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Tree::List),
            vec((key(), inner), 0..5).prop_map(Tree::Object)
        ]
    })
    .boxed()
}

fn group_tree() -> BoxedStrategy<Tree> {
    vec((key(), leaf()), 0..9).prop_map(Tree::Object).boxed()
}

fn leaf() -> impl Strategy<Value = Tree> {
    const BARE: &[&str] =
        &["null", "true", "false", "0", "-0", "1.50", "1e999", "-1E+2", "123456789012345678901234567890"];
    prop_oneof![
        2 => select(BARE).prop_map(|bare| Tree::Bare(bare.to_owned())),
        1 => Just(Tree::Text(String::new())),
        6 => measure().prop_map(Tree::Text),
        2 => spelled_anyhow().prop_map(Tree::Text),
        1 => vec((select(&["width", "height", "w\\u0069dth"][..]), select(BARE)), 1..3).prop_map(sides),
    ]
}

/// An object with these members. Cleaning writes resolutions as objects, so input may already contain similar ones.
fn sides(sides: Vec<(&str, &str)>) -> Tree {
    let entry = |(key, side): (&str, &str)| (key.to_owned(), Tree::Bare(side.to_owned()));
    Tree::Object(sides.into_iter().map(entry).collect())
}

/// Measurements with units, and resolutions. Some are valid, others nearly valid.
fn measure() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,30})?",
        "-?0(\\.0{1,4})?",
        "[-+]?[0-9]{0,3}\\.?[0-9]{0,3}",
    ];
    let unit = select(
        &[
            "kbps", "Kbps", "bps", "BPS", "Mbps", "mbps", "ms", "MS", "s", "S", "%", "fps", "FPS", "Gbps",
            "x", "",
        ][..],
    );
    let space = || select(&["", "", " ", "  ", "\\u0020", "\\t"][..]);
    let with_unit = (space(), number, space(), unit, space())
        .prop_map(|(before, number, between, unit, after)| format!("{before}{number}{between}{unit}{after}"));
    let side = || "(0|[1-9][0-9]{0,4}|0[0-9]|-1|1\\.5|)";
    let resolution = (side(), space(), select(&["*", "x", "X", "\\u002A", "×", " "][..]), space(), side())
        .prop_map(|(width, before, times, after, height)| format!("{width}{before}{times}{after}{height}"));
    prop_oneof![4 => with_unit, 1 => resolution]
}

fn key() -> impl Strategy<Value = String> {
    let known = select(
        &[
            "bitrate",
            "latency",
            "jitter",
            "avg_loss",
            "max_loss",
            "frame_rate",
            "resolution",
            "a_cpu_usage",
            "b_cpu_usage",
            "_cpu_usage",
            "cpu_usage",
            "bitrate_kbps",
            "latency_ms",
            "jitter_ms",
            "avg_loss_percent",
            "max_loss_percent",
            "frame_rate_fps",
            "a_cpu_usage_percent",
            "user_qos",
            "leave_time",
            "recording",
            "max_rssi",
            "width",
            "audio_input",
            "video_output",
            "date_time",
        ][..],
    );
    prop_oneof![
        12 => known.clone().prop_map(str::to_owned),
        2 => known.prop_flat_map(key_spelled),
        1 => "[a-z_]{0,4}",
        1 => spelled_anyhow(),
    ]
}

/// `name`, perhaps with one character written as an escape.
fn key_spelled(name: &'static str) -> impl Strategy<Value = String> + Clone {
    (0..name.len() * 2).prop_map(move |at| match name.as_bytes().get(at) {
        Some(byte) => format!("{}\\u{byte:04x}{}", &name[..at], &name[at + 1..]),
        None => name.to_owned(),
    })
}

/// Any content of a JSON string.
fn spelled_anyhow() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<String>().prop_map(|text| {
            let quoted = serde_json::to_string(&text).unwrap();
            quoted[1..quoted.len() - 1].to_owned()
        }),
        select(&["\\ud83d", "\\ude00", "\\uD83D\\uDE00", "\\/", "\\u0000", "_cpu_usage", " ", "1 kbps"][..])
            .prop_map(str::to_owned),
    ];
    vec(piece, 0..3).prop_map(|pieces| pieces.concat())
}

impl Tree {
    pub fn print(&self, spaces: &mut impl Iterator<Item = &'static str>) -> String {
        let mut space = || spaces.next().unwrap();
        let (before, after) = (space(), space());
        let value = match self {
            Tree::Bare(bare) => bare.clone(),
            Tree::Text(raw) => format!("\"{raw}\""),
            Tree::List(values) => {
                let values: Vec<_> = values.iter().map(|value| value.print(spaces)).collect();
                format!("[{before}{}]", values.join(","))
            }
            Tree::Object(entries) => {
                let entries = entries
                    .iter()
                    .map(|(key, value)| format!("{after}\"{key}\"{before}:{}", value.print(spaces)));
                format!("{{{}{after}}}", entries.collect::<Vec<_>>().join(","))
            }
        };
        format!("{before}{value}{after}")
    }

    /// Parses compact JSON: no whitespace may be between tokens.
    pub fn parse(text: &str) -> Self {
        let mut rest = text;
        let tree = Self::parse_value(&mut rest);
        assert_eq!(rest, "");
        tree
    }

    fn parse_value(rest: &mut &str) -> Self {
        match rest.as_bytes()[0] {
            b'"' => Tree::Text(parse_text(rest)),
            b'[' => Tree::List(parse_between(rest, ']', Self::parse_value)),
            b'{' => Tree::Object(parse_between(rest, '}', |rest| {
                let key = parse_text(rest);
                *rest = rest.strip_prefix(':').unwrap();
                (key, Self::parse_value(rest))
            })),
            _ => {
                let (bare, behind) = rest.split_at(rest.find([',', ']', '}']).unwrap_or(rest.len()));
                *rest = behind;
                Tree::Bare(bare.to_owned())
            }
        }
    }
}

fn parse_text(rest: &mut &str) -> String {
    let inside = rest.strip_prefix('"').unwrap();
    let mut escaped = false;
    let end = inside.find(|char| {
        let closes = char == '"' && !escaped;
        escaped = char == '\\' && !escaped;
        closes
    });
    let (text, behind) = inside.split_at(end.unwrap());
    *rest = &behind[1..];
    text.to_owned()
}

fn parse_between<T>(rest: &mut &str, close: char, each: impl Fn(&mut &str) -> T) -> Vec<T> {
    let mut all = Vec::new();
    *rest = &rest[1..];
    while !rest.starts_with(close) {
        all.push(each(rest));
        *rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    *rest = &rest[1..];
    all
}

/// Decodes the raw content of a JSON string to UTF-16 code units, which can also represent lone surrogates. Two
/// spellings of the same string have equal units.
pub fn units(raw: &str) -> Vec<u16> {
    let mut units = Vec::new();
    let mut rest = raw;
    while let Some(char) = rest.chars().next() {
        let mut length = char.len_utf8();
        if char == '\\' {
            length = if rest.as_bytes()[1] == b'u' { 6 } else { 2 };
            units.push(match &rest[1..length] {
                "b" => 8,
                "f" => 12,
                "n" => 10,
                "r" => 13,
                "t" => 9,
                hex if hex.len() == 5 => u16::from_str_radix(&hex[1..], 16).unwrap(),
                itself => u16::from(itself.as_bytes()[0]),
            });
        } else {
            units.extend_from_slice(char.encode_utf16(&mut [0; 2]));
        }
        rest = &rest[length..];
    }
    units
}

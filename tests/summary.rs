//! Properties of the summary of arbitrary participants. `tests/conformance/python/summaries.py` recomputes its figures.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde::de::IgnoredAny;
use test_support::arbitrary_json::{Tree, participant, units};
use zoom_qos_proxy::clean;
use zoom_qos_proxy::view::summary::{Quality, Summary, SummaryLimits};

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_participants_have_a_valid_summary(trees in vec(participant(), 0..4)) {
        let cleaned: Vec<_> = trees.iter().map(clean).collect();
        let summary = counted(&cleaned);
        let counts = counts(&summary);
        assert_keys_differ(&Tree::parse(&counts));
        let rows: u64 = Quality::ALL.map(|quality| {
            let counts: serde_json::Value = serde_json::from_str(&counts).unwrap();
            counts["quality"][quality.as_str()].as_u64().unwrap()
        }).into_iter().sum();
        prop_assert_eq!(rows, cleaned.len() as u64);
        for participant in &cleaned {
            let mut entry = Vec::new();
            summary.append_participant(participant.as_bytes(), &mut entry).unwrap();
            let entry = String::from_utf8(entry).unwrap();
            prop_assert!(serde_json::from_str::<IgnoredAny>(&entry).is_ok(), "{}", entry);
            let entry = Tree::parse(&entry);
            assert_keys_differ(&entry);
            assert_statistics_are_in_order(&entry);
        }
    }

    #[test]
    fn any_bytes_are_summarized_or_rejected(
        tree in participant(),
        bytes in vec(any::<u8>(), 0..50),
        at in any::<prop::sample::Index>(),
        byte in select(&b"\"\\{}[],:0 -nx\xff\0"[..]),
    ) {
        let mut broken = clean(&tree).into_bytes();
        let at = at.index(broken.len());
        broken[at] = byte;
        let cut = &broken[..at];
        for text in [&broken[..], cut, &bytes] {
            let mut summary = Summary::new(SummaryLimits::default());
            let counted = summary.add(text);
            let mut out = b"kept".to_vec();
            if summary.append_participant(text, &mut out).is_err() {
                prop_assert!(counted.is_err());
                prop_assert_eq!(&out, b"kept");
            }
        }
    }
}

fn counted(cleaned: &[String]) -> Summary {
    let mut summary = Summary::new(SummaryLimits::default());
    for participant in cleaned {
        summary.add(participant.as_bytes()).unwrap();
    }
    summary
}

fn counts(summary: &Summary) -> String {
    let mut out = b"{".to_vec();
    summary.append_counts(&mut out);
    out.push(b'}');
    String::from_utf8(out).unwrap()
}

fn clean(tree: &Tree) -> String {
    let page = format!("{{\"participants\":[{}]}}", tree.print(&mut [""].into_iter().cycle()));
    let mut out = Vec::new();
    clean::page(page.as_bytes(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn assert_keys_differ(tree: &Tree) {
    match tree {
        Tree::Object(entries) => {
            let keys: BTreeSet<_> = entries.iter().map(|(key, _)| units(key)).collect();
            assert_eq!(keys.len(), entries.len(), "{entries:?}");
            for (_, value) in entries {
                assert_keys_differ(value);
            }
        }
        Tree::List(values) => values.iter().for_each(assert_keys_differ),
        Tree::Bare(_) | Tree::Text(_) => {}
    }
}

fn assert_statistics_are_in_order(tree: &Tree) {
    let Tree::Object(entries) = tree else { return };
    let number = |wanted: &str| {
        let value = &entries.iter().find(|(key, _)| key == wanted)?.1;
        if let Tree::Bare(number) = value { number.parse::<f64>().ok() } else { None }
    };
    if let (Some(min), Some(avg), Some(p95), Some(max)) =
        (number("min"), number("avg"), number("p95"), number("max"))
    {
        assert!(min <= p95 && p95 <= max, "{entries:?}");
        // Rounding can move the mean by half a hundredth.
        let rounding = 0.005 + f64::EPSILON * max.abs().max(min.abs()) * 4.0;
        assert!(min - rounding <= avg && avg <= max + rounding, "{entries:?}");
    }
    for (_, value) in entries {
        assert_statistics_are_in_order(value);
    }
}

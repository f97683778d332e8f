//! What makes questions about intervals short.

use crate::common::{answer, noisy, refusal, value};

#[test]
fn intervals_and_buckets() {
    for (question, expected) in [
        ("SELECT overlap_ns(10, 20, 15, 30)", "5"),
        ("SELECT overlap_ns(10, 20, 20, 30)", "0"),
        ("SELECT overlap_ns(10, 20, 25, 30)", "0"),
        ("SELECT overlap_ns(10, 40, 25, 30)", "5"),
        ("SELECT overlap_ns(10, NULL, 25, 30) IS NULL", "true"),
        ("SELECT overlaps(10, 20, 19, 30)", "true"),
        ("SELECT overlaps(10, 20, 20, 30)", "false"),
        ("SELECT time_bucket(10, 29)", "20"),
        ("SELECT time_bucket(10, -1)", "-10"),
        ("SELECT time_bucket('1.5 us', 4000)", "3000"),
        ("SELECT time_bucket('2min', 130000000000)", "120000000000"),
        ("SELECT array_to_string(time_buckets(10, 15, 31), ' ')", "10 20 30"),
        ("SELECT array_to_string(time_buckets(10, 10, 20), ' ')", "10"),
        ("SELECT array_to_string(time_buckets(10, 20, 20), ' ')", "20"),
        ("SELECT array_to_string(time_buckets(10, 25, 25), ' ')", "20"),
        ("SELECT reason_name(12)", "HLT"),
        ("SELECT reason_name(NULL) IS NULL", "true"),
    ] {
        assert_eq!(value(question), expected, "{question}");
    }
    let dataset = noisy().to_str().unwrap();
    for (question, said) in [
        ("SELECT time_bucket('soon', 1)", "width of a time bucket"),
        ("SELECT time_bucket(0, 1)", "width of a time bucket"),
        ("SELECT time_bucket(cpu, 1) FROM cpu_states", "constant"),
        ("SELECT overlap_ns(1, 2, 3)", "overlap_ns"),
    ] {
        let refusal = refusal(&[dataset, question]);
        assert!(refusal.contains(said), "{question}: {refusal}");
    }
}

/// A sum over buckets is the sum over all.
#[test]
fn buckets_share_intervals_out() {
    let whole = value("SELECT sum(end_ns - start_ns) FROM cpu_states WHERE state = 'guest'");
    let shared = value(
        "WITH cut AS (
            SELECT start_ns, end_ns, unnest(time_buckets('10ms', start_ns, end_ns)) AS bucket
            FROM cpu_states WHERE state = 'guest'
        ) SELECT sum(overlap_ns(start_ns, end_ns, bucket, bucket + 10000000)) FROM cut",
    );
    assert_eq!(whole, shared);
}

/// A join by time gives what trying every pair gives, and does not try every pair.
#[test]
fn joins_by_time() {
    let join = |condition: &str| {
        format!(
            "SELECT count(*), sum(overlap_ns(c.start_tsc, c.end_tsc, v.start_tsc, v.end_tsc)), min(v.vcpu_id)
            FROM (SELECT * FROM cpu_states ORDER BY start_tsc LIMIT 900) c
            JOIN (SELECT * FROM vcpu_states ORDER BY start_tsc LIMIT 1200) v ON {condition}"
        )
    };
    let keys = ["c.node = v.node AND c.cpu = v.cpu AND", "c.node = v.node AND c.capture = v.capture AND", ""];
    let touching = [
        "c.start_tsc <= v.end_tsc AND c.end_tsc >= v.start_tsc",
        "c.start_tsc + 0 <= v.end_tsc AND c.end_tsc + 0 >= v.start_tsc",
    ];
    let overlapping = [
        "overlaps(c.start_tsc, c.end_tsc, v.start_tsc, v.end_tsc)",
        "c.start_tsc + 0 < v.end_tsc AND v.start_tsc + 0 < c.end_tsc",
    ];
    for keys in keys {
        for [by_time, by_pairs] in [touching, overlapping] {
            let (by_time, by_pairs) = (join(&format!("{keys} {by_time}")), join(&format!("{keys} {by_pairs}")));
            let plan = |question: &str| {
                answer(&[noisy().to_str().unwrap(), &format!("EXPLAIN {question}"), "--format", "csv"])
            };
            assert!(plan(&by_time).contains("IntervalJoinExec"), "{by_time}\n{}", plan(&by_time));
            assert!(!plan(&by_pairs).contains("IntervalJoinExec"), "{by_pairs}");
            let found = value(&by_time);
            assert_eq!(found, value(&by_pairs), "{by_time}");
            assert!(found.split(',').next().unwrap().parse::<u64>().unwrap() > 100, "{found}");
        }
    }
    // Where the side that is held fails, all that asks for it fails, and once.
    let failing = "WITH c AS (SELECT cpu, min(start_tsc) AS a, max(end_tsc) AS b FROM cpu_states WHERE 1 / (cpu - cpu) > 0 GROUP BY cpu)
        SELECT count(*) FROM c JOIN (SELECT cpu, start_tsc, end_tsc FROM vcpu_states UNION ALL SELECT cpu, start_tsc, end_tsc
        FROM cpu_states) v ON c.cpu = v.cpu AND c.a < v.end_tsc AND v.start_tsc < c.b";
    assert!(refusal(&[noisy().to_str().unwrap(), failing]).contains("ivide"));
    // What does not match stays in an outer join, so that one is not for the index.
    let outer = "EXPLAIN SELECT count(*) FROM cpu_states c LEFT JOIN losses l ON c.cpu = l.cpu
        AND c.start_tsc < l.end_tsc AND l.start_tsc < c.end_tsc";
    assert!(!answer(&[noisy().to_str().unwrap(), outer]).contains("IntervalJoinExec"));
}

-- What the cpus did in the stretches that prove a finding, and for whom.
WITH spent AS (
    SELECT s.node, s.capture, s.finding_id, s.cpu, c.state, c.vm_id,
        sum(CASE WHEN c.end_tsc < s.end_tsc THEN c.end_tsc ELSE s.end_tsc END
            - CASE WHEN c.start_tsc > s.start_tsc THEN c.start_tsc ELSE s.start_tsc END) AS ticks
    FROM finding_spans s
    JOIN cpu_states c ON c.node = s.node AND c.capture = s.capture AND c.cpu = s.cpu
        AND c.start_tsc < s.end_tsc AND s.start_tsc < c.end_tsc
    GROUP BY s.node, s.capture, s.finding_id, s.cpu, c.state, c.vm_id
)
SELECT t.node, t.capture, t.finding_id, f.kind, f.severity, t.cpu, t.state, t.vm_id, t.ticks
FROM spent t
JOIN findings f ON f.node = t.node AND f.capture = t.capture AND f.finding_id = t.finding_id
ORDER BY t.node, t.capture, t.finding_id, t.cpu, t.ticks DESC, t.state, coalesce(t.vm_id, -1)

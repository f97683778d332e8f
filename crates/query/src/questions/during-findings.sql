-- What the cpus did in the stretches that prove a finding, and for whom.
SELECT s.node, s.capture, s.finding_id, f.kind, f.severity, s.cpu, c.state, c.vm_id,
    sum(CASE WHEN c.end_tsc < s.end_tsc THEN c.end_tsc ELSE s.end_tsc END
        - CASE WHEN c.start_tsc > s.start_tsc THEN c.start_tsc ELSE s.start_tsc END) AS ticks
FROM finding_spans s
JOIN findings f ON f.node = s.node AND f.capture = s.capture AND f.finding_id = s.finding_id
JOIN cpu_states c ON c.node = s.node AND c.capture = s.capture AND c.cpu = s.cpu
    AND c.start_tsc < s.end_tsc AND s.start_tsc < c.end_tsc
GROUP BY s.node, s.capture, s.finding_id, f.kind, f.severity, s.cpu, c.state, c.vm_id
ORDER BY s.node, s.capture, s.finding_id, s.cpu, ticks DESC, c.state, coalesce(c.vm_id, -1)

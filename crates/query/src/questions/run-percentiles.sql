-- How long a vCPU stays in its guest before an exit: percentiles, in ticks.
-- Counted twice: in bins of 256 ticks, which tell the bins that the percentiles lie in; then each length in these.
WITH bins AS (
    SELECT node, capture, vm_id, exit_tsc - entry_tsc - (exit_tsc - entry_tsc) % 256 AS bin, count(*) AS n,
        max(exit_tsc - entry_tsc) AS longest
    FROM exits
    GROUP BY node, capture, vm_id, exit_tsc - entry_tsc - (exit_tsc - entry_tsc) % 256
),
ranked AS (
    SELECT node, capture, vm_id, bin,
        sum(n) OVER (PARTITION BY node, capture, vm_id ORDER BY bin) - n AS below,
        sum(n) OVER (PARTITION BY node, capture, vm_id ORDER BY bin) AS up_to,
        sum(n) OVER (PARTITION BY node, capture, vm_id) AS total,
        max(longest) OVER (PARTITION BY node, capture, vm_id) AS longest
    FROM bins
    WHERE bin IS NOT NULL
),
wanted AS (
    SELECT node, capture, vm_id, bin, below, total, longest
    FROM ranked
    WHERE (below * 2 < total AND up_to * 2 >= total)
        OR (below * 10 < total * 9 AND up_to * 10 >= total * 9)
        OR (below * 100 < total * 99 AND up_to * 100 >= total * 99)
        OR (below * 1000 < total * 999 AND up_to * 1000 >= total * 999)
),
lengths AS (
    SELECT e.node, e.capture, e.vm_id, w.bin, e.exit_tsc - e.entry_tsc AS ticks, count(*) AS n,
        max(w.below) AS below, max(w.total) AS total, max(w.longest) AS longest
    FROM exits e
    JOIN wanted w ON w.node = e.node AND w.capture = e.capture AND w.vm_id = e.vm_id
        AND w.bin = e.exit_tsc - e.entry_tsc - (e.exit_tsc - e.entry_tsc) % 256
    GROUP BY e.node, e.capture, e.vm_id, w.bin, e.exit_tsc - e.entry_tsc
),
reached AS (
    SELECT node, capture, vm_id, ticks, total, longest,
        below + sum(n) OVER (PARTITION BY node, capture, vm_id, bin ORDER BY ticks) AS up_to
    FROM lengths
)
SELECT node, capture, vm_id, max(total) AS runs,
    min(CASE WHEN up_to * 2 >= total THEN ticks END) AS p50,
    min(CASE WHEN up_to * 10 >= total * 9 THEN ticks END) AS p90,
    min(CASE WHEN up_to * 100 >= total * 99 THEN ticks END) AS p99,
    min(CASE WHEN up_to * 1000 >= total * 999 THEN ticks END) AS p999,
    max(longest) AS longest
FROM reached
GROUP BY node, capture, vm_id
ORDER BY node, capture, vm_id

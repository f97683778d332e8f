-- What is not in the trace, by cpu and cause.
SELECT l.node, l.capture, l.cpu, l.cause, count(*) AS losses, sum(l.end_tsc - l.start_tsc) AS ticks,
    sum(l.bytes) AS bytes,
    CAST(sum(l.end_tsc - l.start_tsc) AS DOUBLE) / max(a.last_tsc - a.first_tsc) AS share
FROM losses l
JOIN captures a ON a.node = l.node AND a.capture = l.capture
GROUP BY l.node, l.capture, l.cpu, l.cause
ORDER BY l.node, l.capture, l.cpu, l.cause

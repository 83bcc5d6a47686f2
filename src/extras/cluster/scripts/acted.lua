-- A client's message of that number was acted on, and nothing came of it that others have: prefix, uuid and `cseq`.
seen(ARGV[2], ARGV[3])
return 1

package gate

// ReadBack writes a verdict as it is remembered, and reads it.
func ReadBack(v Verdict) (Verdict, bool) { return readVerdict(appendVerdict(nil, &v)) }

// ReadVerdict reads a remembered verdict.
func ReadVerdict(b []byte) (Verdict, bool) { return readVerdict(b) }

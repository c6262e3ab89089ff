package consent

// known is what is in memory of a store.
type known struct {
	outs   table // who opted out of what
	grants table // who agreed to what
}

func (k *known) table(kind Kind) *table {
	if kind == KindGrant {
		return &k.grants
	}
	return &k.outs
}

// Absorb takes over changes that another ledger with the same secrets made to the store that both have: opt-outs and consent, and no
// others. When it returns every question knows them.
func (l *Ledger) Absorb(changes ...Change) error { return l.absorb(&l.known, changes) }

func (l *Ledger) absorb(into *known, changes []Change) error {
	for _, c := range changes {
		e, err := l.entry(c)
		if err != nil {
			return err
		}
		if t := into.table(c.Kind); c.Value == nil {
			t.drop(&e.seal, e.scope)
		} else {
			t.put(e)
		}
	}
	return nil
}

// Renewal is opt-outs and consent that are read anew, while questions are answered by those of before. It takes as much memory once more.
type Renewal struct {
	l *Ledger
	known
}

// Renew begins one.
func (l *Ledger) Renew() *Renewal { return &Renewal{l: l} }

// Absorb is that of Ledger.
func (r *Renewal) Absorb(changes ...Change) error { return r.l.absorb(&r.known, changes) }

// Has says whether a record is among them.
func (r *Renewal) Has(kind Kind, key []byte) (bool, error) {
	e, err := r.l.entry(Change{Kind: kind, Key: key})
	if err != nil {
		return false, err
	}
	return r.table(kind).has(&e.seal, e.scope), nil
}

// Use has questions answered by it from now on.
func (r *Renewal) Use() {
	r.l.outs.become(&r.outs)
	r.l.grants.become(&r.grants)
	r.l.unread.Store(false)
}

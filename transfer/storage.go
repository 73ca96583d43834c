package transfer

import "context"

// Storage asks for the room of the account behind the source, by its optional power StorageTeller; ok is false where the
// source doesn't have that.
func (p *Pair) Storage(ctx context.Context) (s Storage, ok bool, err error) {
	teller, ok := p.Source.(StorageTeller)
	if !ok {
		return Storage{}, false, nil
	}
	err = guarded(func() (err error) {
		s, err = teller.Storage(ctx)
		return err
	})
	if err != nil {
		return Storage{}, true, sourceErr("ask for the storage", err)
	}
	return s, true, nil
}

// KeepsTrash tells whether the source keeps what is deleted in a trash that the engine can reach.
func (p *Pair) KeepsTrash() bool {
	_, ok := p.Source.(Trash)
	return ok
}

// Package identity knows who asks: it finds the account, or the operator, behind an API key or a client certificate.
//
// A [Book] holds what the policy's accounts say and what their key files hold. It is read without locks and replaced as a
// whole by [Book.Load], so that a key that was added works with the next call and one that was removed with none.
//
//	book, err := identity.New(identity.Options{Getenv: os.Getenv, ReadFile: os.ReadFile, AdminKeyFile: "admin.key"})
//	err = book.Load(policy.Accounts)
//	key, err := identity.ParseAuthorization(header["Authorization"])
//	owner, ok := book.Key(key)
//
// No key is kept: in memory there are HMAC-SHA-256 of keys under a secret of the process, which tell nothing to who reads the
// memory later and nothing by their timing to who guesses. Errors name the variable or file and line, and never a key.
package identity

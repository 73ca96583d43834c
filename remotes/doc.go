// Package remotes keeps configured clouds: rclone's configuration sealed in the store and shared by all workers, and the
// guided sign-in that fills it.
//
// # Where things lie
//
// One Redis hash holds a sealed text for each remote. The text is sealed as rclone seals an encrypted rclone.conf
// (XSalsa20 and Poly1305 under a key made of a password), with a nonce of its own at each write. Names of remotes are in
// clear, everything else is sealed. A known text under the same key tells a wrong password before anything is changed.
//
// # Writing together
//
// Every write replaces one remote's text only where it is still the text that the writer saw, and is done again on the
// newest one where it isn't. So two workers that refresh tokens at once never lose a key that the other wrote. A counter
// tells the others that something changed; it is asked for before a value is read, but at most every freshFor.
//
// # Signing in
//
// A Draft is a remote that isn't one yet: the answers so far and where rclone's own questions stand. Nothing of it is a
// remote until the last question is answered, so a sign-in that fails or is left lying changes nothing. It is kept
// sealed, too, and another process can go on with it.
package remotes

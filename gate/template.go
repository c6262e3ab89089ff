package gate

import (
	"github.com/sendgate/sendgate/consent/template"
)

// Template names the message template of a send. Each field has at most 128 bytes.
type Template struct {
	// Name and Language are as the platform has them: "order_update", "en_US".
	Name, Language string
	// Business is the platform's account: of WhatsApp a Business Account. Empty: whichever of the account's has the template; of several
	// the strictest counts.
	Business string
}

// templateID is the template of a request; the zero ID for none.
func (req *Request) templateID(account string) template.ID {
	t := &req.Template
	if t.Name == "" {
		return template.ID{}
	}
	return template.ID{Account: account, Business: t.Business, Name: t.Name, Language: t.Language}
}

// judgeTemplate answers a send with a template that its platform does not send, or by an agent of RCS that is not launched. The platform
// would refuse it as well: nothing is charged for it.
func (g *Gate) judgeTemplate(s *scratch) bool {
	if g.templates == nil {
		return false
	}
	send, v := &s.event.Send, &s.event.Verdict
	said := template.Ruling{}
	if send.Channel == "rcs" && s.sender != "" {
		said = g.templates.Agent(send.Account, s.sender)
	}
	if said.Reason == "" && s.template.Name != "" {
		said = g.templates.Admit(v.At, s.template)
	}
	if said.Reason == "" {
		return false
	}
	v.Kind, v.Reason, v.RetryAfter = Deny, said.Reason, said.RetryAfter
	s.template = template.ID{} // nothing was counted
	return true
}

// settleTemplate takes back what was counted of a send that does not go out.
func (g *Gate) settleTemplate(s *scratch, err error) {
	if err != nil || s.event.Verdict.Kind != Allow {
		g.returnTemplate(s.template)
	}
}

func (g *Gate) returnTemplate(id template.ID) {
	if id.Name != "" && g.templates != nil {
		g.templates.Return(id)
	}
}

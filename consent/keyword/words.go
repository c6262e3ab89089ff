package keyword

import (
	"maps"
	"slices"
)

// language is the keywords of one language and what people say around them.
type language struct {
	words map[Action][]string
	// courtesy may stand before or behind any keyword.
	courtesy []string
	// lead may stand right before a keyword: "reply stop".
	lead []string
	// follow may stand behind a keyword that opts out, with one of things among them unless the keyword is strong.
	follow, things []string
	// strong are the keywords that mean messages by themselves. "Cancel this" may mean an appointment.
	strong []string
}

// English is always spoken: carriers test in it. The words are those that CTIA, the platforms and the FCC name.
const English = "en"

// Languages are the codes of the languages that are built in, sorted.
func Languages() []string { return slices.Sorted(maps.Keys(languages())) }

// languages are the languages that are built in, by ISO 639-1 code.
func languages() map[string]language {
	return map[string]language{
		English: {
			words: map[Action][]string{
				OptOut: {"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"},
				OptIn:  {"START", "UNSTOP"},
				Help:   {"HELP", "INFO"},
			},
			courtesy: []string{"please", "pls", "plz", "thanks", "thank", "you", "thx", "ty", "ok", "okay", "hi", "hello", "hey", "sorry", "now", "immediately", "asap"},
			lead:     []string{"reply", "text", "send", "just"},
			follow: []string{"me", "us", "my", "the", "this", "these", "those", "it", "all", "any", "more", "from", "to", "you", "your", "right", "further",
				"sending", "receiving", "getting", "contacting", "number", "phone", "please", "pls", "now", "immediately", "asap", "thanks"},
			things: []string{"texting", "text", "texts", "messaging", "message", "messages", "msg", "msgs", "sms", "spam", "spamming", "alerts", "notifications",
				"promotions", "promos", "ads", "marketing", "mailings"},
			strong: []string{"STOP", "STOPALL", "UNSUBSCRIBE", "OPTOUT"},
		},
		"es": {
			words: map[Action][]string{
				OptOut: {"ALTO", "PARAR", "PARE", "BAJA", "CANCELAR", "DETENER", "DAR DE BAJA"},
				OptIn:  {"ALTA", "INICIAR"},
				Help:   {"AYUDA"},
			},
			courtesy: []string{"por", "favor", "gracias", "hola"},
		},
		"fr": {
			words: map[Action][]string{
				OptOut: {"ARRET", "ARRETE", "ARRETER", "ARRETEZ", "DESABONNER", "DESINSCRIRE"},
				OptIn:  {"REPRENDRE", "INSCRIRE"},
				Help:   {"AIDE"},
			},
			courtesy: []string{"svp", "merci", "bonjour", "sil", "vous", "plait"},
		},
		"de": {
			words: map[Action][]string{
				OptOut: {"STOPP", "ABMELDEN", "ABBESTELLEN", "KÜNDIGEN"},
				OptIn:  {"ANMELDEN"},
				Help:   {"HILFE"},
			},
			courtesy: []string{"bitte", "danke", "hallo"},
		},
		"pt": {
			words: map[Action][]string{
				OptOut: {"PARAR", "PARE", "SAIR", "CANCELAR", "DESCADASTRAR"},
				OptIn:  {"INICIAR", "VOLTAR"},
				Help:   {"AJUDA"},
			},
			courtesy: []string{"por", "favor", "obrigado", "obrigada"},
		},
		"it": {
			words:    map[Action][]string{OptOut: {"FERMA", "ANNULLA", "DISISCRIVI", "CANCELLAMI"}, OptIn: {"RIPRENDI"}, Help: {"AIUTO"}},
			courtesy: []string{"per", "favore", "grazie"},
		},
		"nl": {
			words:    map[Action][]string{OptOut: {"AFMELDEN", "STOPPEN"}, OptIn: {"AANMELDEN"}, Help: {"HULP"}},
			courtesy: []string{"aub", "alstublieft", "bedankt"},
		},
		"pl": {
			words:    map[Action][]string{OptOut: {"ZATRZYMAJ", "REZYGNUJE", "WYPISZ"}, OptIn: {"WZNOW"}, Help: {"POMOC"}},
			courtesy: []string{"prosze", "dziekuje"},
		},
		"ru": {
			words:    map[Action][]string{OptOut: {"СТОП", "ОТПИСАТЬСЯ", "ОТПИСКА", "ОТМЕНА"}, OptIn: {"СТАРТ", "ПОДПИСАТЬСЯ"}, Help: {"ПОМОЩЬ", "ИНФО"}},
			courtesy: []string{"пожалуйста", "спасибо"},
		},
		"tr": {
			words:    map[Action][]string{OptOut: {"İPTAL", "DUR", "RET", "ÇIK"}, OptIn: {"BAŞLA"}, Help: {"YARDIM"}},
			courtesy: []string{"lütfen", "teşekkürler"},
		},
		"id": {
			words:    map[Action][]string{OptOut: {"BERHENTI", "BATAL"}, OptIn: {"MULAI"}, Help: {"BANTUAN"}},
			courtesy: []string{"tolong", "terima", "kasih"},
		},
		"vi": {
			words: map[Action][]string{OptOut: {"DỪNG", "HỦY", "TỪ CHỐI"}, OptIn: {"BẮT ĐẦU"}, Help: {"TRỢ GIÚP"}},
		},
		"th": {
			words: map[Action][]string{OptOut: {"หยุด", "ยกเลิก"}, OptIn: {"เริ่ม"}, Help: {"ช่วยเหลือ"}},
		},
		"ja": {
			words: map[Action][]string{OptOut: {"停止", "配信停止", "解除", "ストップ"}, OptIn: {"再開", "開始"}, Help: {"ヘルプ"}},
		},
		"ko": {
			words: map[Action][]string{OptOut: {"중지", "수신거부", "거부"}, OptIn: {"시작", "수신동의"}, Help: {"도움말"}},
		},
		"zh": {
			words: map[Action][]string{OptOut: {"停止", "退订", "退訂", "取消"}, OptIn: {"开始", "開始", "订阅"}, Help: {"帮助", "幫助"}},
		},
		"ar": {
			words: map[Action][]string{OptOut: {"قف", "إيقاف", "إلغاء"}, OptIn: {"ابدأ"}, Help: {"مساعدة"}},
		},
		"hi": {
			words: map[Action][]string{OptOut: {"रोकें", "बंद"}, OptIn: {"शुरू"}, Help: {"मदद"}},
		},
	}
}

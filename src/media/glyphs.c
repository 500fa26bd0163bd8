#include "media/glyphs.h"
#include "base/alloc.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A glyph is pairs of characters, each the distance from 'R': its left and right edge, then points
 * of a line; " R" lifts the pen. The letters are "Roman simplex" of the Hershey fonts, which were
 * originally created by Dr. A. V. Hershey while working at the U. S. National Bureau of Standards.
 * The format of their data was originally created by James Hurt, Cognition, Inc., 900 Technology
 * Park Drive, Billerica, MA 01821 (mit-eddie!ci-dandelion!hurt). The hyphen is shorter here. */
static const char *const ascii[] = {
    "JZ",
    "MWRFRT RRYQZR[SZRY",
    "JZNFNM RVFVM",
    "H]SBLb RYBRb RLOZO RKUYU",
    "H\\PBP_ RTBT_ RYIWGTFPFMGKIKKLMMNOOUQWRXSYUYXWZT[P[MZKX",
    "F^[FI[ RNFPHPJOLMMKMIKIIJGLFNFPGSHVHYG[F RWTUUTWTYV[X[ZZ[X[VYTWT",
    "E_\\O\\N[MZMYNXPVUTXRZP[L[JZIYHWHUISJRQNRMSKSIRGPFNGMIMKNNPQUXWZY[[[\\Z\\Y",
    "MWRHQGRFSGSIRKQL",
    "KYVBTDRGPKOPOTPYR]T`Vb",
    "KYNBPDRGTKUPUTTYR]P`Nb",
    "JZRLRX RMOWU RWOMU",
    "E_RIR[ RIR[R",
    "NVSWRXQWRVSWSYQ[",
    "KYNRVR",
    "NVRVQWRXSWRV",
    "G][BIb",
    "H\\QFNGLJKOKRLWNZQ[S[VZXWYRYOXJVGSFQF",
    "H\\NJPISFS[",
    "H\\LKLJMHNGPFTFVGWHXJXLWNUQK[Y[",
    "H\\MFXFRNUNWOXPYSYUXXVZS[P[MZLYKW",
    "H\\UFKTZT RUFU[",
    "H\\WFMFLOMNPMSMVNXPYSYUXXVZS[P[MZLYKW",
    "H\\XIWGTFRFOGMJLOLTMXOZR[S[VZXXYUYTXQVOSNRNOOMQLT",
    "H\\YFO[ RKFYF",
    "H\\PFMGLILKMMONSOVPXRYTYWXYWZT[P[MZLYKWKTLRNPQOUNWMXKXIWGTFPF",
    "H\\XMWPURRSQSNRLPKMKLLINGQFRFUGWIXMXRWWUZR[P[MZLX",
    "NVROQPRQSPRO RRVQWRXSWRV",
    "NVROQPRQSPRO RSWRXQWRVSWSYQ[",
    "F^ZIJRZ[",
    "E_IO[O RIU[U",
    "F^JIZRJ[",
    "I[LKLJMHNGPFTFVGWHXJXLWNVORQRT RRYQZR[SZRY",
    "E`WNVLTKQKOLNMMPMSNUPVSVUUVS RQKOMNPNSOUPV "
    "RWKVSVUXVZV\\T]Q]O\\L[JYHWGTFQFNGLHJJILHOHRIUJWLYNZQ[T[WZYYZX RXKWSWUXV",
    "I[RFJ[ RRFZ[ RMTWT",
    "G\\KFK[ RKFTFWGXHYJYLXNWOTP RKPTPWQXRYTYWXYWZT[K[",
    "H]ZKYIWGUFQFOGMILKKNKSLVMXOZQ[U[WZYXZV",
    "G\\KFK[ RKFRFUGWIXKYNYSXVWXUZR[K[",
    "H[LFL[ RLFYF RLPTP RL[Y[",
    "HZLFL[ RLFYF RLPTP",
    "H]ZKYIWGUFQFOGMILKKNKSLVMXOZQ[U[WZYXZVZS RUSZS",
    "G]KFK[ RYFY[ RKPYP",
    "NVRFR[",
    "JZVFVVUYTZR[P[NZMYLVLT",
    "G\\KFK[ RYFKT RPOY[",
    "HYLFL[ RL[X[",
    "F^JFJ[ RJFR[ RZFR[ RZFZ[",
    "G]KFK[ RKFY[ RYFY[",
    "G]PFNGLIKKJNJSKVLXNZP[T[VZXXYVZSZNYKXIVGTFPF",
    "G\\KFK[ RKFTFWGXHYJYMXOWPTQKQ",
    "G]PFNGLIKKJNJSKVLXNZP[T[VZXXYVZSZNYKXIVGTFPF RSWY]",
    "G\\KFK[ RKFTFWGXHYJYLXNWOTPKP RRPY[",
    "H\\YIWGTFPFMGKIKKLMMNOOUQWRXSYUYXWZT[P[MZKX",
    "JZRFR[ RKFYF",
    "G]KFKULXNZQ[S[VZXXYUYF",
    "I[JFR[ RZFR[",
    "F^HFM[ RRFM[ RRFW[ R\\FW[",
    "H\\KFY[ RYFK[",
    "I[JFRPR[ RZFRP",
    "H\\YFK[ RKFYF RK[Y[",
    "KYOBOb RPBPb ROBVB RObVb",
    "KYKFY^",
    "KYTBTb RUBUb RNBUB RNbUb",
    "JZRDJR RRDZR",
    "I[Ib[b",
    "NVSKQMQORPSORNQO",
    "I\\XMX[ RXPVNTMQMONMPLSLUMXOZQ[T[VZXX",
    "H[LFL[ RLPNNPMSMUNWPXSXUWXUZS[P[NZLX",
    "I[XPVNTMQMONMPLSLUMXOZQ[T[VZXX",
    "I\\XFX[ RXPVNTMQMONMPLSLUMXOZQ[T[VZXX",
    "I[LSXSXQWOVNTMQMONMPLSLUMXOZQ[T[VZXX",
    "MYWFUFSGRJR[ ROMVM",
    "I\\XMX]W`VaTbQbOa RXPVNTMQMONMPLSLUMXOZQ[T[VZXX",
    "I\\MFM[ RMQPNRMUMWNXQX[",
    "NVQFRGSFREQF RRMR[",
    "MWRFSGTFSERF RSMS^RaPbNb",
    "IZMFM[ RWMMW RQSX[",
    "NVRFR[",
    "CaGMG[ RGQJNLMOMQNRQR[ RRQUNWMZM\\N]Q][",
    "I\\MMM[ RMQPNRMUMWNXQX[",
    "I\\QMONMPLSLUMXOZQ[T[VZXXYUYSXPVNTMQM",
    "H[LMLb RLPNNPMSMUNWPXSXUWXUZS[P[NZLX",
    "I\\XMXb RXPVNTMQMONMPLSLUMXOZQ[T[VZXX",
    "KXOMO[ ROSPPRNTMWM",
    "J[XPWNTMQMNNMPNRPSUTWUXWXXWZT[Q[NZMX",
    "MYRFRWSZU[W[ ROMVM",
    "I\\MMMWNZP[S[UZXW RXMX[",
    "JZLMR[ RXMR[",
    "G]JMN[ RRMN[ RRMV[ RZMV[",
    "J[MMX[ RXMM[",
    "JZLMR[ RXMR[P_NaLbKb",
    "J[XMM[ RMMXM RM[X[",
    "KYTBRCQDPFPHQJRKSMSOQQ RRCQEQGRISJTLTNSPORSTTVTXSZR[Q]Q_Ra RQSSUSWRYQZP\\P^Q`RaTb",
    "NVRBRb",
    "KYPBRCSDTFTHSJRKQMQOSQ RRCSESGRIQJPLPNQPURQTPVPXQZR[S]S_Ra RSSQUQWRYSZT\\T^S`RaPb",
    "F^IUISJPLONOPPTSVTXTZS[Q RISJQLPNPPQTTVUXUZT[Q[O",
};

static const struct {
    uint32_t code;
    const char *strokes;
} han[] = {
    {0x4eba, "E_RFRLOSHZ RRLUS\\Z"}, // 人
    {0x5de5, "E_JHZH RRHRX RHX\\X"}, // 工
    {0x667a,
     "E_KEHI RJHQH RHLRL RMHMLKOHQ RNMQP RUGUO RUG\\G\\O RUN\\N RLRL\\ RLRXRX\\ RLVXV RL[X["}, // 智
    {0x80fd,
     "E_MEIJPJ ROGQK RJMJVH[ RJMQMQ[OZ RJQQQ RJUQU RUEUM\\M\\K R\\FUJ RUPUZ\\Z\\W R\\QUU"}, // 能
    {0x751f, "E_MFIM RLKZK RRFRZ RKRYR RHZ\\Z"},                                            // 生
    {0x6210, "E_JJ\\J RJJJRGZ RJPPPPWMV RSETOWV\\Z\\V RZNWTQZ RWFZH"},                      // 成
    {0x5408, "E_RENJGO RREVJ]O RMOWO RKSK\\ RKSYSY\\ RK[Y["},                               // 合
    {0x5185, "E_JJJ[ RJJZJZZWZ RRERMMU RRMWT"},                                             // 内
    {0x5bb9, "E_RERH RILIH[H[L ROJJO RUJZO RRMNRHV RRMVR\\V RMUM\\ RMUWUW\\ RM[W["},        // 容
    {0x7531, "E_JKJ[ RJKZKZ[ RJRZR RRFRZ RJZZZ"},                                           // 由
};

/* From U+00C0: a letter and a mark, or two letters; "!!": neither. */
static const char *const latin[] = {
    "A`A'A^A~A\"A*AEC,E`E'E^E\"I`I'I^I\"", "D+N~O`O'O^O~O\"x O/U`U'U^U\"Y'!!ss",
    "a`a'a^a~a\"a*aec,e`e'e^e\"i`i'i^i\"", "d&n~o`o'o^o~o\"!!o/u`u'u^u\"y'!!y\"",
    "A-a-A(a(A;a;C'c'C^c^C.c.C<c<D<d_",    "D+d&E-e-E(e(E.e.E;e;E<e<G^g^G(g(",
    "G.g.G,g'H^h^H#h$I~i~I-i-I(i(I;i;",    "I.i IJijJ^j^K,k,!!L'l'L,l,L@l@L.",
    "l.L%l%N'n'N,n,N<n<!!!!!!O-o-O(o(",    "O=o=OEoeR'r'R,r,R<r<S's'S^s^S,s,",
    "S<s<T,t,T<t@T+t$U~u~U-u-U(u(U*u*",    "U=u=U;u;W^w^Y^y^Y\"Z'z'Z.z.Z<z<!!",
};

/* Marks of letters, without edges, about the middle of a small letter. */
static const struct {
    char name;
    const char *strokes;
} marks[] = {
    {'`', "OESI"},       {'\'', "QIUE"},
    {'^', "NIREVI"},     {'~', "LIMGOFQGSHUIWHXF"},
    {'"', "NGNG RVGVG"}, {'*', "RDTEUGTIRJPIOGPERD"},
    {'<', "NERIVE"},     {'-', "NGVG"},
    {'(', "NEOHRIUHVE"}, {'.', "RGRG"},
    {'=', "NIQE RSIVE"}, {',', "R[R]T_SaPa"},
    {';', "U[S^TaWa"},   {'/', "J]ZK"},
    {'%', "NSVM"},       {'+', "FQQQ"},
    {'&', "RJ\\J"},      {'#', "GK]K"},
    {'$', "HJSJ"},       {'@', "WEVI"},
    {'_', "\\E[I"},      {' ', ""},
};

#define DOTLESS_I "NVRKR["
#define RISE 5 /* of a mark above a tall letter */

typedef struct line {
    ls_glyph_stroke *strokes;
    size_t count, size;
    double x;
} line;

static int add(line *l, ls_glyph_stroke s, ls_error *err)
{
    if (l->count == l->size) {
        const size_t size = l->size ? 2 * l->size : 128;
        ls_glyph_stroke *more = realloc(l->strokes, size * sizeof *more);
        if (!more)
            return ls_fail(err, LS_ENOMEM, "out of memory");
        l->strokes = more;
        l->size = size;
    }
    l->strokes[l->count++] = s;
    return 0;
}

static int draw(line *l, const char *points, double x, double y, ls_error *err)
{
    double from[2] = {0};
    int ret = 0;
    for (bool down = false; !ret && *points; points += 2) {
        const bool lifts = *points == ' ';
        const double to[2] = {x + points[0] - 'R', y + points[1] - 'R'};
        if (!lifts && down)
            ret = add(l, (ls_glyph_stroke){from[0], from[1], to[0], to[1]}, err);
        memcpy(from, to, sizeof from);
        down = !lifts;
    }
    return ret;
}

static bool is_tall(char c)
{
    return (c >= 'A' && c <= 'Z') || strchr("bdfhklt", c);
}

static int draw_mark(line *l, char letter, char mark, double middle, ls_error *err)
{
    const bool rises = is_tall(letter) && strchr("`'^~\"*<-(.=", mark);
    for (size_t i = 0; i < LS_COUNT(marks); i++)
        if (marks[i].name == mark)
            return draw(l, marks[i].strokes, middle, rises ? -RISE : 0, err);
    return 0;
}

/* A glyph at the pen, which moves on; with a mark, or '\0'. */
static int put(line *l, const char *glyph, char letter, char mark, ls_error *err)
{
    const double left = glyph[0] - 'R', right = glyph[1] - 'R', x = l->x - left;
    const char *points = letter == 'i' && mark ? DOTLESS_I : glyph;
    int ret = draw(l, points + 2, x, 0, err);
    if (!ret && mark)
        ret = draw_mark(l, letter, mark, x + (left + right) / 2, err);
    l->x += right - left;
    return ret;
}

static int put_ascii(line *l, char c, char mark, ls_error *err)
{
    return put(l, ascii[c - ' '], c, mark, err);
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* What stands for other characters. */
static uint32_t plain(uint32_t c)
{
    static const uint32_t others[][2] = {{0xA0, ' '},    {0x2013, '-'},  {0x2014, '-'},
                                         {0x2018, '\''}, {0x2019, '\''}, {0x201C, '"'},
                                         {0x201D, '"'},  {0x218, 0x15E}, {0x219, 0x15F},
                                         {0x21A, 0x162}, {0x21B, 0x163}};
    for (size_t i = 0; i < LS_COUNT(others); i++)
        if (others[i][0] == c)
            return others[i][1];
    return c;
}

/* LS_EINVAL if there is no such character. */
static int put_code(line *l, uint32_t c, ls_error *err)
{
    c = plain(c);
    const size_t at = c - 0xC0;
    if (c >= ' ' && c < 127)
        return put_ascii(l, (char)c, '\0', err);
    if (c >= 0xC0 && at / 16 < LS_COUNT(latin)) {
        const char *pair = latin[at / 16] + 2 * (at % 16);
        if (*pair == '!')
            return LS_EINVAL;
        if (!is_letter(pair[1]))
            return put_ascii(l, pair[0], pair[1], err);
        const int ret = put_ascii(l, pair[0], '\0', err);
        return ret ? ret : put_ascii(l, pair[1], '\0', err);
    }
    for (size_t i = 0; i < LS_COUNT(han); i++)
        if (han[i].code == c)
            return put(l, han[i].strokes, '\0', '\0', err);
    return LS_EINVAL;
}

/* The next character and its length; false if it is not UTF-8. */
static bool decode(const char *text, uint32_t *code, size_t *bytes)
{
    const uint8_t *b = (const uint8_t *)text;
    const size_t n = *b < 0x80   ? 1
                     : *b < 0xC2 ? 0
                     : *b < 0xE0 ? 2
                     : *b < 0xF0 ? 3
                     : *b < 0xF5 ? 4
                                 : 0;
    *code = n == 1 ? *b : *b & (0x7Fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((b[i] & 0xC0) != 0x80)
            return false;
        *code = *code << 6 | (b[i] & 0x3F);
    }
    *bytes = n;
    return n > 0;
}

int ls_glyphs_lay(ls_glyph_stroke **strokes, size_t *count, double *width, const char *text,
                  ls_error *err)
{
    line l = {0};
    uint32_t code;
    size_t bytes;
    int ret = 0;
    for (const char *p = text; !ret && *p; p += bytes) {
        if (!decode(p, &code, &bytes)) {
            ret = ls_fail(err, LS_EINVAL, "a text that is not UTF-8 cannot be drawn");
            break;
        }
        ret = put_code(&l, code, err);
        if (ret == LS_EINVAL)
            ls_fail(err, LS_EINVAL,
                    "there are no strokes for the character \"%.*s\" (U+%04X), only for letters of "
                    "European languages in Latin script and a few Chinese characters",
                    (int)bytes, p, (unsigned)code);
    }
    if (ret)
        free(l.strokes);
    *strokes = ret ? NULL : l.strokes;
    *count = l.count;
    *width = l.x;
    return ret;
}
